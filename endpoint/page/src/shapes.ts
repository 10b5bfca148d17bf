// The shapes of the maps. They are projected when the page is built, and drawn as they are.

import { feature } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import { read } from "./api";
import type { MapName } from "./state";

type Places = Topology<{ places: GeometryCollection }>;

/** A shape, named by the code of its place; land without a code has a name that no place has. */
export interface Shape {
  type: "Feature";
  geometry: unknown;
  properties: { name: string };
}

const loaded = new Map<MapName, Shape[]>();

/** Loads a map's shapes, once. */
export async function loadShapes(map: MapName): Promise<void> {
  if (loaded.has(map)) return;
  const topology = await read<Places>(`page/map-${map.toLowerCase()}.json`);
  const { features } = feature(topology, topology.objects.places);
  const shapes = features.map(({ id, geometry }, n): Shape => {
    const name = typeof id === "string" && id !== "" ? id : `#${n}`;
    return { type: "Feature", geometry, properties: { name } };
  });
  loaded.set(map, shapes);
}

export function isLoaded(map: MapName): boolean {
  return loaded.has(map);
}

export function featuresOf(map: MapName): Shape[] {
  return loaded.get(map) ?? [];
}

/** The names of a map's shapes, in their order. */
export function codesOf(map: MapName): string[] {
  return featuresOf(map).map(({ properties }) => properties.name);
}

/** Whether a place has a shape on a map. */
export function isOn(map: MapName, code: string): boolean {
  return featuresOf(map).some(({ properties }) => properties.name === code);
}
