// What is known of one place, as it is shown when the map is pointed at.

import type { ShareRow } from "./api";
import { element } from "./dom";
import { hashrate, percent, range, UNKNOWN } from "./format";
import { nameOf, total } from "./frames";
import { words } from "./words";

export const KINDS = ["measured", "declared", "estimated", "prior"] as const;

/** The parts of a place's hashrate by kind, in words, largest rank first. */
export function kindsInWords({ kinds }: ShareRow): string {
  const whole = total(kinds);
  return KINDS.filter((kind) => kinds[kind] > 0)
    .map((kind) => `${percent(kinds[kind] / whole)} ${words().kinds[kind]}`)
    .join(words().comma);
}

/** The facts of a row as pairs of a name and a text. */
export function factsOf(row: ShareRow): [string, string][] {
  const { facts } = words();
  const pairs: [string, string][] = [[facts.share, percent(row.share)]];
  if (row.share_of_country !== undefined) pairs.push([facts.ofCountry, percent(row.share_of_country)]);
  pairs.push(
    [facts.possible, range(row.low, row.high)],
    [facts.declared, range(row.declared_low, row.declared_high)],
    [facts.belief, range(row.belief?.[0], row.belief?.[1])],
    [facts.without, range(row.sensitivity?.[0], row.sensitivity?.[1])],
    [facts.known, hashrate(row.hashrate)],
    [facts.extrapolated, hashrate(row.network_hashrate)],
    [facts.evidence, percent(row.evidence)],
  );
  return pairs;
}

const SETTLED_MS = 150; // the pointer passes over many places

/** What is known of a place; its pools are read when the pointer has stayed. */
export function tooltipOf(code: string, row: ShareRow | null, poolsOf: (code: string) => Promise<string>): HTMLElement {
  const box = element("div", {}, element("b", {}, nameOf(code, row?.name ?? code)));
  if (!row) {
    box.append(element("p", {}, words().noFigure));
    return box;
  }
  const list = element("dl");
  for (const [name, text] of factsOf(row)) {
    if (text !== UNKNOWN) list.append(element("dt", {}, name), element("dd", {}, text));
  }
  const pools = element("p", {}, words().loading);
  box.append(list, element("p", {}, kindsInWords(row)), pools, ...row.flags.map((flag) => element("p", {}, words().flags[flag] ?? flag)));
  setTimeout(() => {
    if (!pools.isConnected) return;
    poolsOf(code).then((text) => { pools.textContent = text; }, () => { pools.remove(); });
  }, SETTLED_MS);
  return box;
}
