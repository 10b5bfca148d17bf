// Requests to the API, with the types of its own description (openapi.json).

import type { components } from "./api-types";
import type { View, Window } from "./state";

type Schemas = components["schemas"];
export type Answer = Schemas["Answer"] | Schemas["SubdivisionAnswer"];
export type ShareRow = Schemas["ShareRow"] & { share_of_country?: number };
export type Histories = Schemas["Histories"];
export type Contributions = Schemas["Contributions"];
export type PoolState = Schemas["PoolState"];
export type Belief = Schemas["BeliefRow"];
export type Kinds = Schemas["KindSplit"];
export type PlaceSwing = Schemas["PlaceSwing"];
export type PoolSwing = Schemas["PoolSwing"];
export type SwingEvent = PlaceSwing | PoolSwing;
/** A swing: its newest event, and the earlier ones, oldest first. */
export type Swing = SwingEvent & { earlier: SwingEvent[] };

const TIMEOUT_MS = 15_000;
const FIRST_MONTH = "2019-09"; // of the map that Cambridge published

export class ApiError extends Error {
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }

  /** Whether the same question would have the same answer: the address asks for what there is not. */
  get isFinal(): boolean {
    return this.status === 400 || this.status === 404;
  }
}

/** Returns the address of an API path with those parameters that are not the default. */
export function address(path: string, parameters: Record<string, string | null | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value) query.set(name, value);
  const text = query.toString().replaceAll("%2C", ",").replaceAll("*", "*").replaceAll("%2F", "/");
  return `api/v1/${path}${text && `?${text}`}`;
}

/** The parameters of the view that change figures, without those that are the default. */
export function choices({ adjust, prior }: Pick<View, "adjust" | "prior">): Record<string, string | null> {
  return { adjust: adjust === "none" ? adjust : null, prior: prior === "default" ? null : prior };
}

export function sharesAddress(view: View, window: Window, form: "shares" | "shares.csv" = "shares"): string {
  const inside = view.map === "world" ? {} : { level: "subdivision", country: view.map };
  return address(form, { window: view.at ?? window, ...inside, ...choices(view) });
}

/** The history that the chart and the slider show: 48 hours, 30 days, or all months since 2019. */
export function historyAddress(view: View, form: "history" | "history.csv" = "history"): string {
  const code = view.map === "world" ? "*" : `${view.map}-*`;
  const from = view.step === "month" ? FIRST_MONTH : null;
  return address(form, { code, step: view.step, from, ...choices(view) });
}

/** Reads a path of the API; the browser's cache asks whether it has changed. */
export async function read<T>(path: string, signal?: AbortSignal): Promise<T> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(path, {
    cache: "no-cache",
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
  });
  const body = (await response.json()) as T & { detail?: string };
  if (!response.ok) throw new ApiError(body.detail ?? `status ${response.status}`, response.status);
  return body;
}

export const readPools = (): Promise<{ pools: PoolState[] }> => read("api/v1/pools");

export const readBeliefs = (on: string | null): Promise<{ beliefs: Belief[] }> =>
  read(address("beliefs", { on }));

export const readSwings = (): Promise<{ swings: Swing[] }> => read("api/v1/swings");

export const readPlaces = (): Promise<{ places: { code: string; name: string }[] }> => read("api/v1/places");
