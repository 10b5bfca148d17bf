// Swings, in order and in words: a place's share, or a pool's hashrate, that has moved against its own
// recent past.

import type { Belief, PlaceSwing, Swing, SwingEvent } from "./api";
import { age, hashrate, moment, percent, points, signedPercent } from "./format";
import type { Step } from "./format";
import type { Frame } from "./frames";
import { timeOf } from "./lines";
import type { Window } from "./state";
import { words } from "./words";

const DAY_MS = 86_400_000;
/** The steps of the chart, and how far back each goes. */
const REACH: [Step, number][] = [["hour", 2 * DAY_MS], ["day", 30 * DAY_MS]];

export function isOfPlace<S extends SwingEvent>(swing: S): swing is S & PlaceSwing {
  return "place" in swing;
}

/** What tells one swing from all others, as an id of an element. */
export function keyOf(swing: SwingEvent): string {
  const subject = isOfPlace(swing) ? swing.place : `${swing.pool}/${swing.source}`;
  return `swing/${swing.pair}/${subject}/${swing.started}`;
}

/** Adds an event to a list of swings, newest first. Returns null if the list has it already. */
export function withEvent(swings: readonly Swing[], event: SwingEvent): Swing[] | null {
  const key = keyOf(event);
  const known = swings.find((swing) => keyOf(swing) === key);
  const events = known ? eventsOf(known) : [];
  if (events.some(({ at, state, severity }) => at === event.at && state === event.state && severity === event.severity)) return null;
  const [newest, ...earlier] = [...events, event].sort((a, b) => b.at.localeCompare(a.at));
  const swing: Swing = { ...(newest ?? event), earlier: earlier.reverse() };
  return [...swings.filter((one) => one !== known), swing].sort((a, b) => b.at.localeCompare(a.at));
}

/** The events of a swing, oldest first. */
export function eventsOf({ earlier, ...newest }: Swing): SwingEvent[] {
  return [...earlier, newest];
}

/** The event that has the figures of a swing: the last one while it fired. */
export function peakOf<S extends Swing>(swing: S): S {
  const fired = eventsOf(swing).findLast(({ state }) => state === "firing");
  return { ...swing, ...fired };
}

/** Whether a swing is the doing of what it is about, and not only of others. */
export function isOwn(swing: Swing): boolean {
  return !isOfPlace(swing) || peakOf(swing).driver === "own";
}

/** Whether an alert would go by it: what others caused and what the operator mutes is only shown. */
export function isAlarming(swing: Swing): boolean {
  return isOwn(swing) && !peakOf(swing).muted;
}

/** The step of the chart that shows a time in the most detail. */
export function stepFor(time: string, now: number): Step {
  const old = now - Date.parse(time);
  return REACH.find(([, reach]) => old < reach)?.[0] ?? "month";
}

// --- in words ------------------------------------------------------------------------------------

/** What a feed needs to know beside the swings. */
export interface Known {
  placeName: (code: string) => string;
  poolName: (pool: string) => string;
  annotations: ReadonlyMap<string, Belief>;
}

/** The size of a swing, with its sign: percentage points of a share, or percent of a pool's hashrate. */
export function sizeOf(event: SwingEvent): string {
  if (event.delta === null) return "";
  return isOfPlace(event) ? words().swing.points(points(event.delta)) : signedPercent(event.delta);
}

export function subjectOf(swing: SwingEvent, known: Known): string {
  return isOfPlace(swing) ? known.placeName(swing.place) : known.poolName(swing.pool);
}

/** One sentence about an event, for who does not see the page. */
export function eventInWords(event: SwingEvent, known: Known): string {
  const { states } = words().swing;
  return words().swing.said(subjectOf(event, known), sizeOf(event), states[event.state]);
}

/** The size and the time of a swing, as the chart and its table have it. */
export function markInWords(swing: Swing): string {
  const driver = isOwn(swing) ? "" : words().swing.others;
  return [`${sizeOf(peakOf(swing))}${driver && ` (${driver})`}`, timeInWords(swing)].join(words().comma);
}

export function timeInWords({ state, started, at }: Swing): string {
  const { swing } = words();
  return state === "firing" ? swing.since(moment(started), age((Date.now() - Date.parse(started)) / 1000)) : swing.fromTo(moment(started), moment(at));
}

const windowsOf = ({ pair }: SwingEvent): [string, string] => {
  const [short = "", long = ""] = pair.split("/").map((name) => words().windows[name as Window]);
  return [short, long];
};

export function comparison(peak: SwingEvent): string {
  const figure = isOfPlace(peak) ? percent : hashrate;
  const [short, long] = windowsOf(peak);
  const text = words().swing.against(figure(peak.short), short, figure(peak.long), long);
  return isOfPlace(peak) ? text : `${text}${words().headline.gap}${words().swing.by(peak.source)}`;
}

export function driverInWords({ driver, own }: PlaceSwing): string {
  if (driver === null) return "";
  return words().swing.drivers[driver](words().swing.points(points(own)));
}

// --- on the chart --------------------------------------------------------------------------------

/** A swing on the chart: the first and the last of the buckets that it is in. */
export interface Mark {
  from: number;
  to: number;
  own: boolean;
  size: string;
  text: string;
}

/** The swings of a place in the buckets of a history, oldest first. */
export function marksOf(frames: readonly Frame[], place: string | null, swings: readonly Swing[]): Mark[] {
  const starts = frames.map(({ window }) => Date.parse(timeOf(window) ?? ""));
  const bucketOf = (time: string): number => starts.findLastIndex((start) => start <= Date.parse(time));
  return swings
    .filter((swing) => isOfPlace(swing) && swing.place === place)
    .map((swing) => ({
      from: Math.max(0, bucketOf(swing.started)),
      to: swing.state === "firing" ? starts.length - 1 : bucketOf(swing.at),
      own: isAlarming(swing),
      size: sizeOf(peakOf(swing)),
      text: markInWords(swing),
    }))
    .filter(({ to }) => to >= 0)
    .sort((a, b) => a.from - b.from);
}

/** The swings that a bucket is in. */
export function marksAt(marks: readonly Mark[], bucket: number): Mark[] {
  return marks.filter(({ from, to }) => from <= bucket && bucket <= to);
}
