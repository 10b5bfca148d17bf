// What the chart of shares over time consists of, without drawing it.

import type { ShareRow } from "./api";
import { css, LINES } from "./colours";
import type { Step } from "./format";
import { nameOf } from "./frames";
import type { Frame } from "./frames";
import type { Chart } from "./state";
import type { Mark } from "./swings";

const LARGEST = 8;

export interface ShownHistory {
  frames: Frame[];
  step: Step;
  chart: Chart;
  place: string | null;
  compare: readonly string[];
  at: string | null;
  /** The swings of the chosen place. */
  marks: Mark[];
}

export interface Line {
  code: string;
  name: string;
  colour: string;
  values: (number | null)[];
}

/**
 * The lines of a chart: the places that are compared, or else the largest ones by the sum of their shares,
 * the chosen one among them.
 */
export function linesOf({ frames, place, compare }: Pick<ShownHistory, "frames" | "place" | "compare">): Line[] {
  const sums = new Map<string, number>();
  const names = new Map<string, string>();
  for (const { rows } of frames) {
    for (const { code, name, share } of rows) {
      sums.set(code, (sums.get(code) ?? 0) + share);
      names.set(code, name);
    }
  }
  const ordered = [...sums].sort(([, a], [, b]) => b - a).map(([code]) => code);
  const isCompared = (code: string): boolean => code === place || compare.includes(code);
  const shown = compare.length ? ordered.filter(isCompared) : ordered.slice(0, LARGEST);
  if (place !== null && sums.has(place) && !shown.includes(place)) shown[LARGEST - 1] = place;
  return shown.map((code, n) => ({
    code,
    name: nameOf(code, names.get(code) ?? code),
    colour: LINES[n % LINES.length] ?? "",
    values: frames.map(({ rows }) => rows.find((row) => row.code === code)?.share ?? (rows.length ? 0 : null)),
  }));
}

type Bound = (row: ShareRow) => readonly [number, number] | null;

const pair = (low: number | null, high: number | null): readonly [number, number] | null =>
  low === null || high === null ? null : [low, high];

/** What the share of a place could be instead, from the widest to the narrowest. */
export const BANDS: Record<"possible" | "declared" | "belief", Bound> = {
  possible: (row) => pair(row.low, row.high),
  declared: (row) => pair(row.declared_low, row.declared_high),
  belief: (row) => (row.belief ? pair(row.belief[0], row.belief[1]) : null),
};

export function bandColour(band: keyof typeof BANDS): string {
  return css({ possible: "--prior", declared: "--declared", belief: "--estimated" }[band]);
}

/** The colours of the two lines under the chart, as custom properties. */
export const SURE = { coverage: "--accent", evidence: "--measured-line" } as const;

/** The start of a bucket by the name of its window. */
export function timeOf(window: string): string | null {
  if (/^\d{4}-\d{2}$/.test(window)) return `${window}-01T00:00:00Z`;
  if (/^\d{4}-\d{2}-\d{2}$/.test(window)) return `${window}T00:00:00Z`;
  return /^\d{4}-\d{2}-\d{2}T\d{2}$/.test(window) ? `${window}:00:00Z` : null;
}
