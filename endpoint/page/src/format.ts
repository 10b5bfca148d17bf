// Numbers, times and names for people, by the browser's own Intl. Unknown is a dash, never 0.

import { language } from "./words";

export const UNKNOWN = "–";

const LEAST_SHOWN = 0.0001;
const EH = 1e18;
const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86_400;

const made = new Map<string, unknown>();

/** A formatter of Intl for the chosen language, which is slow to make and made once. */
function intl<T>(make: (language: string) => T, key: string): T {
  const known = `${language()} ${key}`;
  if (!made.has(known)) made.set(known, make(language()));
  return made.get(known) as T;
}

function number(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  return intl((language) => new Intl.NumberFormat(language, options), JSON.stringify(options));
}

/** A ratio as percent: two digits below 10 %, one above. */
export function percent(ratio: number | null | undefined): string {
  if (ratio === null || ratio === undefined) return UNKNOWN;
  if (ratio > 0 && ratio < LEAST_SHOWN) return `<${percent(LEAST_SHOWN)}`;
  const digits = ratio >= 0.0995 || ratio === 0 ? 1 : 2;
  return number({ style: "percent", maximumFractionDigits: digits }).format(ratio);
}

/** A difference of ratios in percentage points, with its sign. */
export function points(difference: number | null | undefined): string {
  if (difference === null || difference === undefined) return UNKNOWN;
  return number({ maximumFractionDigits: 2, signDisplay: "exceptZero" }).format(100 * difference);
}

/** A relative difference in percent, with its sign. */
export function signedPercent(ratio: number): string {
  return number({ style: "percent", maximumFractionDigits: 1, signDisplay: "exceptZero" }).format(ratio);
}

/** The smallest and the largest ratio of a range. */
export function range(low: number | null | undefined, high: number | null | undefined): string {
  if (low === null || low === undefined || high === null || high === undefined) return UNKNOWN;
  return `${percent(low)} – ${percent(high)}`;
}

/** A hashrate (H/s) in EH/s, the unit in which the network is spoken of. */
export function hashrate(value: number | null | undefined): string {
  if (value === null || value === undefined) return UNKNOWN;
  return `${number({ maximumSignificantDigits: 3 }).format(value / EH)} EH/s`;
}

/** The limits of a class, such as "0.2–0.5%", shorter than two figures. */
export function percentRange(low: number, high: number): string {
  return number({ style: "percent", maximumFractionDigits: 1 }).formatRange(low, high);
}

/** The limits of a class of hashrates (H/s), such as "1–2 EH/s". */
export function hashrateRange(low: number, high: number): string {
  return `${number({}).formatRange(low / EH, high / EH)} EH/s`;
}

export function count(value: number): string {
  return number({}).format(value);
}

/** An age in seconds, in the largest unit of which there is at least one. */
export function age(seconds: number): string {
  const relative = intl((chosen) => new Intl.RelativeTimeFormat(chosen, { style: "short" }), "age");
  const s = Math.max(0, Math.round(seconds));
  if (s < MINUTE_S) return relative.format(-s, "second");
  if (s < HOUR_S) return relative.format(-Math.floor(s / MINUTE_S), "minute");
  if (s < DAY_S) return relative.format(-Math.floor(s / HOUR_S), "hour");
  return relative.format(-Math.floor(s / DAY_S), "day");
}

/** A time in UTC, to the minute. */
export function moment(at: string | number | Date): string {
  const options = { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" } as const;
  const format = intl((chosen) => new Intl.DateTimeFormat(chosen, options), "moment");
  return `${format.format(new Date(at))} UTC`;
}

export type Step = "hour" | "day" | "month";

const BUCKETS: Record<Step, Intl.DateTimeFormatOptions> = {
  hour: { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  day: { year: "numeric", month: "short", day: "numeric" },
  month: { year: "numeric", month: "long" },
};

/** The name of a bucket, such as "April 2021"; an hour says that it is in UTC. */
export function bucket(at: string | number, step: Step): string {
  const options = { ...BUCKETS[step], timeZone: "UTC" };
  const text = intl((chosen) => new Intl.DateTimeFormat(chosen, options), step).format(new Date(at));
  return step === "hour" ? `${text} UTC` : text;
}

/** A country's name in the chosen language, or the given one where the browser knows none. */
export function countryName(code: string, given: string): string {
  if (!/^[A-Z]{2}$/.test(code)) return given;
  const options = { type: "region", fallback: "none" } as const;
  return intl((chosen) => new Intl.DisplayNames(chosen, options), "region").of(code) ?? given;
}
