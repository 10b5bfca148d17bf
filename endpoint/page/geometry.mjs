// Makes the maps' geometry: projected, simplified, and with ISO codes as ids.
//
// Countries are Natural Earth's (world-atlas), in the Equal Earth projection, which keeps areas true;
// US states are us-atlas's, in its own Albers projection; Chinese provinces are those that ECharts 4
// shipped. Coordinates are written as they are drawn, so the page needs no projection.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { geoEqualEarth } from "d3-geo";
import { geoProject } from "d3-geo-projection";
import { feature } from "topojson-client";
import { topology } from "topojson-server";
import { planarRingArea, presimplify, quantile, simplify } from "topojson-simplify";
import iso from "i18n-iso-countries";

const require = createRequire(import.meta.url);
const read = (name) => JSON.parse(readFileSync(require.resolve(name), "utf8"));

const QUANTA = 1e4; // the grid that coordinates are rounded to
const POINTS_KEPT = { world: 0.3, US: 0.4, CN: 0.25 }; // the most significant, as a fraction of all

// --- projections ---------------------------------------------------------------------------------

// On a unit sphere around (0, 0), with y growing downwards as d3 has it. It cuts shapes at 180°.
const equalEarth = (shape) => mirrored(geoProject(shape, geoEqualEarth().scale(1).translate([0, 0])));
const mirrored = (shape) => pointwise(shape, ([x, y]) => [x, -y]);

// An equirectangular map of China, true to scale at its middle latitude.
const MIDDLE = Math.cos((36 * Math.PI) / 180);
const china = (shape) => pointwise(shape, ([longitude, latitude]) => [longitude * MIDDLE, latitude]);

function pointwise(shape, moved) {
  const all = (part) => (typeof part[0] === "number" ? moved(part) : part.map(all));
  return { ...shape, coordinates: all(shape.coordinates) };
}

// --- codes ---------------------------------------------------------------------------------------

const KOSOVO = "XK"; // has no number in ISO 3166-1
const NO_CODE = ""; // land that no code of ISO 3166-1 is for: it is drawn, and nothing is known of it

function countryCode({ id, properties }) {
  if (properties.name === "Kosovo") return KOSOVO;
  return id === undefined ? undefined : iso.numericToAlpha2(String(id).padStart(3, "0"));
}

// The first two digits of GB/T 2260 and the subdivisions of ISO 3166-2. Hong Kong, Macao and Taiwan
// have country codes of their own and are on the map of the world.
const PROVINCES = {
  11: "BJ", 12: "TJ", 13: "HE", 14: "SX", 15: "NM", 21: "LN", 22: "JL", 23: "HL", 31: "SH", 32: "JS",
  33: "ZJ", 34: "AH", 35: "FJ", 36: "JX", 37: "SD", 41: "HA", 42: "HB", 43: "HN", 44: "GD", 45: "GX",
  46: "HI", 50: "CQ", 51: "SC", 52: "GZ", 53: "YN", 54: "XZ", 61: "SN", 62: "GS", 63: "QH", 64: "NX",
  65: "XJ",
};

function provinceCode({ id }) {
  const province = PROVINCES[id.slice(0, 2)];
  return `CN-${province}`;
}

const STATES = {
  "01": "AL", "02": "AK", "04": "AZ", "05": "AR", "06": "CA", "08": "CO", "09": "CT", 10: "DE", 11: "DC",
  12: "FL", 13: "GA", 15: "HI", 16: "ID", 17: "IL", 18: "IN", 19: "IA", 20: "KS", 21: "KY", 22: "LA",
  23: "ME", 24: "MD", 25: "MA", 26: "MI", 27: "MN", 28: "MS", 29: "MO", 30: "MT", 31: "NE", 32: "NV",
  33: "NH", 34: "NJ", 35: "NM", 36: "NY", 37: "NC", 38: "ND", 39: "OH", 40: "OK", 41: "OR", 42: "PA",
  44: "RI", 45: "SC", 46: "SD", 47: "TN", 48: "TX", 49: "UT", 50: "VT", 51: "VA", 53: "WA", 54: "WV",
  55: "WI", 56: "WY",
};

const stateCode = ({ id }) => `US-${STATES[id]}`;

// --- ECharts 4's packed coordinates --------------------------------------------------------------

const SCALE = 1024;

function unpackedRing(text, [originX, originY]) {
  let [x, y] = [originX, originY];
  const points = [];
  for (let i = 0; i < text.length; i += 2) {
    const step = (code) => (code >> 1) ^ -(code & 1);
    x += step(text.charCodeAt(i) - 64);
    y += step(text.charCodeAt(i + 1) - 64);
    points.push([x / SCALE, y / SCALE]);
  }
  return points;
}

function unpacked({ geometry: { type, coordinates, encodeOffsets }, ...rest }) {
  const rings = (texts, offsets) => texts.map((text, n) => unpackedRing(text, offsets[n]));
  const plain =
    type === "Polygon"
      ? rings(coordinates, encodeOffsets)
      : coordinates.map((polygon, n) => rings(polygon, encodeOffsets[n]));
  return { ...rest, geometry: { type, coordinates: plain } };
}

// --- the maps ------------------------------------------------------------------------------------

function map(features, codeOf, project, kept) {
  const shapes = features.map((one) => ({
    type: "Feature",
    id: codeOf(one) ?? NO_CODE,
    properties: {},
    geometry: project(one.geometry),
  }));
  const fine = presimplify(topology({ places: { type: "FeatureCollection", features: shapes } }, 1e6));
  const least = quantile(fine, kept);
  const simple = simplify(fine, least);
  const places = feature(simple, simple.objects.places);
  for (const { geometry } of places.features) dropIslets(geometry, least);
  return topology({ places }, QUANTA);
}

// Islets smaller than the remaining detail go, but not the largest part of a place.
function dropIslets(geometry, least) {
  if (geometry.type !== "MultiPolygon") return;
  const area = ([ring]) => Math.abs(planarRingArea(ring));
  const largest = Math.max(...geometry.coordinates.map(area));
  geometry.coordinates = geometry.coordinates.filter((part) => area(part) >= Math.min(least, largest));
}

export function maps() {
  const world = read("world-atlas/countries-50m.json");
  const states = read("us-atlas/states-albers-10m.json");
  const provinces = read("echarts-4/map/json/china.json");
  const countries = feature(world, world.objects.countries).features;
  return {
    world: map(
      countries.filter((one) => countryCode(one) !== "AQ"),
      countryCode,
      equalEarth,
      POINTS_KEPT.world,
    ),
    US: map(
      feature(states, states.objects.states).features.filter(({ id }) => id in STATES),
      stateCode,
      mirrored, // projected by us-atlas, in pixels from the top
      POINTS_KEPT.US,
    ),
    CN: map(
      provinces.features.map(unpacked).filter(({ id }) => id.slice(0, 2) in PROVINCES),
      provinceCode,
      china,
      POINTS_KEPT.CN,
    ),
  };
}
