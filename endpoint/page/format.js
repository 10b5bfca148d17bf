// Formats numbers for people. The API has shares as fractions and hashrates in H/s; only here they
// get percent signs and unit prefixes. Unknown is a dash, never 0.

export const UNKNOWN = "–";

const PREFIXES = ["", "k", "M", "G", "T", "P", "E", "Z"];
const LEAST_SHOWN = 0.0001;

export function percent(ratio) {
  if (ratio === null) return UNKNOWN;
  if (ratio > 0 && ratio < LEAST_SHOWN) return `<${percent(LEAST_SHOWN)}`;
  const digits = ratio === 0 || ratio === 1 ? 0 : ratio < 0.01 ? 2 : 1;
  const rounding = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return ratio.toLocaleString("en", { style: "percent", ...rounding });
}

export function range(low, high) {
  return low === null || high === null ? UNKNOWN : `${percent(low)} to ${percent(high)}`;
}

export function hashrate(hashesPerSecond) {
  if (hashesPerSecond === null) return UNKNOWN;
  let value = hashesPerSecond;
  let power = 0;
  while (value >= 999.5 && power < PREFIXES.length - 1) {
    value /= 1000;
    power += 1;
  }
  const number = value.toLocaleString("en", { maximumSignificantDigits: 3, useGrouping: false });
  return `${number}\u00a0${PREFIXES[power]}H/s`;
}

export function age(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} minutes ago`;
  return `${Math.round(seconds / 3600)} hours ago`;
}
