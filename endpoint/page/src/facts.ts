// How sure: the headline, the cited sources and what they placed, the pools, and what is missing.

import type { Answer, Belief, Contributions, Kinds, PoolState } from "./api";
import { byId, element, rewrite } from "./dom";
import { age, count, hashrate, percent, signedPercent } from "./format";
import { nameOf } from "./frames";
import type { Frame } from "./frames";
import { cell, kindsBar } from "./table";
import { words } from "./words";

const LEAST_SAID = 0.0005; // a smaller part rounds to nothing in a sentence

/** The source of what is assumed, as people know it: its publisher and since when it is so. */
function priorName(frame: Frame, beliefs: ReadonlyMap<string, Belief>): string | null {
  const id = frame.beliefs.find((one) => one.startsWith("network/"));
  if (id === undefined) return null;
  const belief = beliefs.get(id);
  if (!belief) return id;
  const since = belief.from ? `, ${words().beliefSince(belief.from)}` : "";
  return `${belief.publisher || belief.subject}${since}`;
}

/** The part of the network whose place is inferred; 0 where that cannot be told. */
function inferredCoverage({ rows, measuredCoverage, declaredCoverage }: Frame): number {
  const sum = (kind: keyof Kinds): number => rows.reduce((all, row) => all + row.kinds[kind], 0);
  const [known, part] = sum("measured") > 0 ? [sum("measured"), measuredCoverage] : [sum("declared"), declaredCoverage];
  return known > 0 && part !== null ? (part * sum("estimated")) / known : 0;
}

/** Where the rest comes from: the network's distribution, those of pools, or nowhere. */
function restOf(frame: Frame, beliefs: ReadonlyMap<string, Belief>): string {
  const { headline } = words();
  const network = priorName(frame, beliefs);
  if (network !== null) return headline.rest(network);
  const assumed = frame.rows.some(({ kinds }) => kinds.prior > 0);
  const pools = frame.beliefs.filter((id) => id.startsWith("pools/")).length;
  return assumed && pools > 0 ? headline.restOfPools(pools) : headline.restUnknown;
}

/** The headline: what is seen, what of it has a place, and where the rest comes from. */
export function headlineOf(frame: Frame, beliefs: ReadonlyMap<string, Belief>): string {
  const { headline } = words();
  if (frame.pools.length === 0) return headline.nothing;
  const pools = headline.pools(frame.pools.length, count(frame.pools.length));
  const seen = frame.coverage === null ? headline.seenUnknown(pools) : headline.seen(percent(Math.min(1, frame.coverage)), pools);
  const parts: string[] = [];
  const { measuredCoverage: measured, declaredCoverage: declared } = frame;
  if (measured !== null && declared !== null) {
    parts.push(headline.measured(percent(measured)));
    if (declared - measured > LEAST_SAID) parts.push(headline.declared(percent(declared - measured)));
  }
  const inferred = inferredCoverage(frame);
  if (inferred > LEAST_SAID) parts.push(headline.inferred(percent(inferred)));
  parts.push(restOf(frame, beliefs));
  return `${seen}${headline.gap}${parts.join(headline.and)}${headline.end}`;
}

// --- beliefs -------------------------------------------------------------------------------------

/** A link to what a belief rests on, named by its publisher. */
export function linkTo(belief: Belief): HTMLElement | string {
  const address = belief.source.split(/\s+/).find((word) => /^https?:\/\//.test(word));
  if (address === undefined) return belief.source;
  return element("a", { href: address, rel: "noopener noreferrer", target: "_blank" }, belief.publisher || words().source);
}

export function renderBeliefs(answer: Answer | null, beliefs: ReadonlyMap<string, Belief>): void {
  const items = (answer?.beliefs ?? []).map(({ id, kind, hashrate: placed }) => {
    const belief = beliefs.get(id);
    return element(
      "li",
      {},
      element("span", { class: `dot ${kind}`, title: words().kinds[kind] }),
      element("b", {}, hashrate(placed)),
      ` ${words().kinds[kind]} · `,
      element("code", {}, id),
      ...(belief ? [" · ", linkTo(belief), belief.from ? ` · ${belief.from}` : ""] : []),
    );
  });
  rewrite(byId("beliefs"), ...(items.length ? items : [element("li", {}, words().beliefsNone)]));
  const notes: string[] = [];
  if (answer?.rules.length) notes.push(`${words().rules}: ${answer.rules.join(", ")}`);
  if (answer?.excluded.length) {
    const named = answer.excluded.map(({ pool, reason }) => `${pool} (${words().reasons[reason] ?? reason})`);
    notes.push(`${words().excluded}: ${named.join(", ")}`);
  }
  byId("rules").textContent = notes.join(". ");
}

// --- pools ---------------------------------------------------------------------------------------

function secondsSince(at: string | null, now: number): number | null {
  return at === null ? null : (now - Date.parse(at)) / 1000;
}

function poolRow(pool: PoolState, now: number): HTMLElement {
  const { poolColumns: labels, states } = words();
  const old = secondsSince(pool.last_report, now);
  const gap = pool.gap ? words().gap(signedPercent(pool.gap.ratio), pool.gap.blocks, count(pool.gap.blocks)) : "–";
  const simulated = pool.simulated ? element("small", { class: "note" }, ` ${words().made}`) : "";
  const basis = pool.basis ? element("small", { class: "note" }, ` ${words().basis[pool.basis]}`) : "";
  const problem = pool.refused ? element("small", { class: "flag" }, words().refused(pool.refused.reason)) : "";
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, element("bdi", {}, pool.name), element("small", {}, element("bdi", {}, pool.pool)), problem),
    cell(labels.state, null, states[pool.state] ?? pool.state, simulated),
    cell(labels.hashrate, "number", hashrate(pool.hashrate)),
    cell(labels.source, null, element("bdi", {}, pool.source ?? "–"), basis),
    cell(labels.age, null, old === null ? "–" : age(old)),
    cell(labels.mined, null, gap),
    cell(labels.kinds, null, pool.kinds ? kindsBar({ kinds: pool.kinds }) : "–"),
  );
}

export function renderPools(pools: readonly PoolState[], now: number): void {
  rewrite(byId("pool-rows"), ...pools.map((pool) => poolRow(pool, now)));
}

/** The age in seconds of the newest report of any pool, or null without one. */
export function newestReport(pools: readonly PoolState[], now: number): number | null {
  const ages = pools.flatMap(({ last_report: at }) => secondsSince(at, now) ?? []);
  return ages.length ? Math.min(...ages) : null;
}

const POOLS_NAMED = 4;

/** The largest pools of a place, and how old the newest report of any of them is while the view is live. */
export function poolsInWords({ pools: parts }: Contributions, pools: readonly PoolState[], live: boolean): string {
  const there = parts.filter(({ share }) => share > 0);
  if (there.length === 0) return words().whyNone;
  const names = there.slice(0, POOLS_NAMED).map(({ name }) => name);
  const text = words().poolsHere(names.join(words().comma), count(Math.max(0, there.length - POOLS_NAMED)));
  const codes = new Set(there.map(({ pool }) => pool));
  const newest = live ? newestReport(pools.filter(({ pool }) => codes.has(pool)), Date.now()) : null;
  return newest === null ? text : `${text} · ${words().newest(age(newest))}`;
}

/** What is shown when nothing counts yet: which pools answer, which do not, and why. */
export function renderWaiting(frame: Frame | null, pools: readonly PoolState[], live: boolean): void {
  // A period of the past waits for nothing.
  const waiting = live && frame !== null && frame.pools.length === 0;
  byId("waiting").hidden = !waiting;
  if (!waiting) return;
  const items = pools.map(({ name, state, reason, refused }) => {
    const why = refused ? words().refused(refused.reason) : (words().reasons[reason ?? ""] ?? reason ?? "");
    return element("li", {}, element("bdi", {}, name), `: ${words().states[state] ?? state}`, why && ` (${why})`);
  });
  rewrite(byId("waiting-for"), ...items);
}

// --- what is not on the map ----------------------------------------------------------------------

export function renderBeside(frame: Frame | null, isShape: (code: string) => boolean, place: string | null): void {
  const node = byId("beside");
  const rows = (frame?.rows ?? []).filter((row) => !isShape(row.code));
  const chips: HTMLElement[] = rows.map((row) =>
    element(
      "button",
      { type: "button", class: "chip", "data-place": row.code, "aria-pressed": row.code === place ? "true" : "false" },
      `${nameOf(row.code, row.name)} ${percent(row.share)}`,
    ),
  );
  const located = frame?.answer?.located;
  if (located !== null && located !== undefined && located < 1 - LEAST_SAID) {
    const part = percent(1 - located);
    chips.push(element("span", {}, element("b", {}, `${words().unknown} ${part}`), " ", element("small", {}, words().unknownMeans)));
  }
  rewrite(node, ...(chips.length ? [element("span", { class: "note" }, words().beside), ...chips] : []));
}
