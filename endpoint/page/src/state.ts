// The view: what is chosen. It is in the address bar, so a view can be sent to somebody.

import type { Step } from "./format";

export const WINDOWS = ["now", "1h", "24h", "7d", "30d"] as const;
export const MEASURES = ["share", "hashrate", "evidence"] as const;
export const MAPS = ["world", "CN", "US"] as const;
export const STEPS = ["hour", "day", "month"] as const;
export const CHARTS = ["stacked", "lines"] as const;

export type Window = (typeof WINDOWS)[number];
export type Measure = (typeof MEASURES)[number];
export type MapName = (typeof MAPS)[number];
export type Chart = (typeof CHARTS)[number];

export interface View {
  /** The rolling window that is shown while the view is live; null: the one with most evidence. */
  window: Window | null;
  /** The bucket that is shown, as the API names its window (2021-04); null: live. */
  at: string | null;
  step: Step;
  measure: Measure;
  map: MapName;
  /** The code of the chosen place. */
  place: string | null;
  /** The codes of the places that the chart compares it with. */
  compare: readonly string[];
  adjust: "published" | "none";
  prior: string;
  chart: Chart;
  embed: boolean;
}

export const DEFAULT: View = {
  window: null,
  at: null,
  step: "day",
  measure: "share",
  map: "world",
  place: null,
  compare: [],
  adjust: "published",
  prior: "default",
  chart: "stacked",
  embed: false,
};

/** Places that can be compared at a time: the chart has no more colours. */
export const COMPARED = 8;

const CODE = /^(?:OTHER|[A-Z]{2}(?:-(?:OTHER|[A-Z0-9]{1,3}))?)$/;
const BUCKET = /^\d{4}-\d{2}(?:-\d{2}(?:T\d{2})?)?$/;
const PRIOR = /^[a-z0-9][a-z0-9._/-]{0,127}$/;

/** Returns the step of a bucket by the length of its name. */
function stepOf(at: string): Step {
  return at.length === "2021-04".length ? "month" : at.length === "2021-04-01".length ? "day" : "hour";
}

/** Whether a bucket's name is that of a time that exists: there is no 2021-02-31. */
function isTime(at: string): boolean {
  const start = `${at}${"0000-01-01T00".slice(at.length)}:00:00Z`;
  return !Number.isNaN(Date.parse(start)) && new Date(start).toISOString().startsWith(at);
}

/** The map that has this place, if it is a subdivision of a country with a map of its own. */
export function mapOf(place: string): MapName {
  return MAPS.find((map) => place.startsWith(`${map}-`)) ?? "world";
}

/** The chosen places that a map has: the first one, and those that it is compared with. */
function chosenOn(map: MapName, places: readonly (string | null)[]): Pick<View, "place" | "compare"> {
  const codes = places.filter((code) => code !== null && mapOf(code) === map) as string[];
  const [place = null, ...compare] = new Set(codes.slice(0, COMPARED));
  return { place, compare };
}

/** The view in which one more place is chosen, or a chosen one no longer. */
export function toggled({ place, compare }: View, code: string): Pick<View, "place" | "compare"> {
  const chosen = place === null ? [] : [place, ...compare];
  const codes = chosen.includes(code) ? chosen.filter((one) => one !== code) : [...chosen, code].slice(-COMPARED);
  const [first = null, ...others] = codes;
  return { place: first, compare: others };
}

/** The view in which a place is the chosen one; those that are compared stay. Once more, and none is chosen. */
export function chosen({ place, compare }: View, code: string): Pick<View, "place" | "compare"> {
  if (place === code) return { place: null, compare: [] };
  if (compare.length === 0 || place === null) return { place: code, compare: [] };
  return { place: code, compare: [place, ...compare].filter((one) => one !== code).slice(0, COMPARED - 1) };
}

/** Reads a view from a query string; what it does not understand keeps its default. */
export function parse(query: string): View {
  const given = new URLSearchParams(query);
  const one = <T extends string>(name: string, allowed: readonly T[]): T | undefined =>
    allowed.find((value) => value === given.get(name));
  const matching = (name: string, pattern: RegExp): string | null => {
    const text = given.get(name);
    return text !== null && pattern.test(text) ? text : null;
  };
  const bucket = matching("at", BUCKET);
  const at = bucket !== null && isTime(bucket) ? bucket : null;
  const place = matching("place", CODE);
  const map = one("map", MAPS) ?? (place === null ? DEFAULT.map : mapOf(place));
  return {
    window: one("window", WINDOWS) ?? DEFAULT.window,
    at,
    step: at === null ? (one("step", STEPS) ?? DEFAULT.step) : stepOf(at),
    measure: one("by", MEASURES) ?? DEFAULT.measure,
    map,
    // A country is no place on the map of provinces, where it would seem to have nothing.
    ...chosenOn(map, [place, ...(given.get("compare") ?? "").split(",").filter((code) => CODE.test(code))]),
    adjust: one("adjust", ["published", "none"]) ?? DEFAULT.adjust,
    prior: matching("prior", PRIOR) ?? DEFAULT.prior,
    chart: one("chart", CHARTS) ?? DEFAULT.chart,
    embed: given.get("embed") === "1",
  };
}

/** Writes a view as a query string, without what is the default; other parameters are kept. */
export function format(view: View, others: string): string {
  const query = new URLSearchParams(others);
  const set = (name: string, value: string | null, left: string | null): void => {
    if (value === null || value === left) query.delete(name);
    else query.set(name, value);
  };
  set("window", view.window, DEFAULT.window);
  set("at", view.at, DEFAULT.at);
  set("step", view.at === null ? view.step : null, DEFAULT.step);
  set("by", view.measure, DEFAULT.measure);
  set("map", view.map, DEFAULT.map);
  set("place", view.place, DEFAULT.place);
  set("compare", view.compare.join(","), "");
  set("adjust", view.adjust, DEFAULT.adjust);
  set("prior", view.prior, DEFAULT.prior);
  set("chart", view.chart, DEFAULT.chart);
  set("embed", view.embed ? "1" : null, null);
  return query.toString().replaceAll("%2C", ",");
}

type Listener = (view: View, before: View) => void;

/** Holds the view, keeps the address bar in step, and tells listeners of each change. */
export class Store {
  #view: View;
  readonly #listeners: Listener[] = [];

  constructor() {
    this.#view = parse(location.search);
    addEventListener("popstate", () => {
      this.#change(parse(location.search));
    });
  }

  get view(): View {
    return this.#view;
  }

  listen(listener: Listener): void {
    this.#listeners.push(listener);
  }

  /** Changes the view. A step in the browser's history is made only if `history` says so. */
  set(change: Partial<View>, { history: step = true }: { history?: boolean } = {}): void {
    const next = { ...this.#view, ...change };
    const query = format(next, location.search);
    if (query !== location.search.slice(1)) {
      const address = query ? `?${query}` : location.pathname;
      if (step) history.pushState(null, "", address);
      else history.replaceState(null, "", address);
    }
    this.#change(next);
  }

  #change(next: View): void {
    const before = this.#view;
    if (JSON.stringify(next) === JSON.stringify(before)) return;
    this.#view = next;
    for (const listener of this.#listeners) listener(next, before);
  }
}
