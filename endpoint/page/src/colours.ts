// The colours of the map: classes that are the same at all times and in all windows, so that a place
// keeps its colour while its figure keeps its class. The scale is ColorBrewer's YlGnBu, which readers
// with any common colour blindness can order; on a dark page it runs the other way.

import { hashrate, hashrateRange, percent, percentRange } from "./format";
import type { ShareRow } from "./api";
import type { Measure } from "./state";

const LIGHT = ["#ffffd9", "#e3f4b4", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#0c2c84"];
const DARK = ["#16305c", "#1d4a82", "#20689f", "#2089b3", "#3fb0c0", "#7fcfb8", "#c5e8ad", "#fbfbcf"];

const EH = 1e18;
/** The lower limits of the classes; the first class begins above 0. */
const LIMITS: Record<Measure, readonly number[]> = {
  share: [0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25],
  hashrate: [0, 1 * EH, 2 * EH, 5 * EH, 10 * EH, 25 * EH, 50 * EH, 100 * EH],
  evidence: [0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9],
};

export interface Class {
  colour: string;
  label: string;
  /** Whether the value of the chosen place is in it. */
  chosen: boolean;
}

const dark = matchMedia("screen and (prefers-color-scheme: dark)"); // paper is light

export function isDark(): boolean {
  return dark.matches;
}

export function onThemeChange(listener: () => void): void {
  dark.addEventListener("change", listener);
}

/** The value by which a measure colours a place; null if it is unknown. */
export function valueOf(row: ShareRow, measure: Measure): number | null {
  return row[measure];
}

function classOf(value: number, measure: Measure): number {
  return LIMITS[measure].findLastIndex((limit) => value >= limit);
}

/** The colour of a value; a value of 0 has the first one. */
export function colour(value: number, measure: Measure): string {
  return (isDark() ? DARK : LIGHT)[Math.max(0, classOf(value, measure))] ?? "";
}

/** The classes from the lowest to the highest, for the legend. */
export function classes(measure: Measure, chosen: number | null): Class[] {
  const limits = LIMITS[measure];
  const [text, between] = measure === "hashrate" ? [hashrate, hashrateRange] : [percent, percentRange];
  const at = chosen === null ? -1 : Math.max(0, classOf(chosen, measure));
  return limits.map((limit, n) => {
    const next = limits[n + 1];
    const label = next === undefined ? `≥ ${text(limit)}` : n === 0 ? `< ${text(next)}` : between(limit, next);
    return { colour: (isDark() ? DARK : LIGHT)[n] ?? "", label, chosen: n === at };
  });
}

/** Whether a colour (#rrggbb) is so dark that only light lines are seen on it. */
export function isDarkColour(colour: string): boolean {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((n) => parseInt(colour.slice(n, n + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue < 140;
}

/** A custom property of the style sheet, such as "--ink". */
export function css(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Colours of lines and areas: Okabe and Ito's, which can be told apart without red and green. */
export const LINES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6bb1", "#b8a500"];
