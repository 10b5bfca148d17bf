// The feed of swings.

import type { PlaceSwing, PoolSwing, Swing } from "./api";
import { byId, element, rewrite } from "./dom";
import { linkTo } from "./facts";
import { count, moment, percent, points } from "./format";
import { comparison, driverInWords, eventsOf, isAlarming, isOfPlace, keyOf, peakOf, sizeOf, subjectOf, timeInWords } from "./swings";
import type { Known } from "./swings";
import { kindsBar } from "./table";
import { words } from "./words";

const SHOWN = 6; // of the feed, before the rest is asked for
const POOLS_NAMED = 5;
const PLACES_NAMED = 6;
const LEAST_SAID = 0.0001; // a smaller contribution rounds to nothing

const sentences = (...all: string[]): string => all.map((text) => `${text}${words().headline.end}`).join(words().headline.gap);

const note = (...children: (Node | string)[]): HTMLElement => element("p", { class: "note" }, ...children);

/** The contributions of pools to the swing of a place, largest first. */
function poolsOf({ pools }: PlaceSwing, known: Known): HTMLElement {
  const moving = pools.filter(({ delta }) => Math.abs(delta) >= LEAST_SAID);
  const named = moving.slice(0, POOLS_NAMED);
  const items = named.map(({ pool, delta }) =>
    element("li", {}, element("bdi", {}, known.poolName(pool)), " ", element("b", {}, points(delta))),
  );
  const rest = moving.length - named.length;
  if (rest > 0) items.push(element("li", { class: "note" }, words().swing.more(rest, count(rest))));
  return element("div", {}, note(words().swing.pools), element("ul", { class: "parts" }, ...items));
}

/** Where a pool is thought to be, and how that is known. */
function placesOf(swing: PoolSwing, known: Known): HTMLElement {
  const { places } = swing;
  if (places.length === 0) return note(words().swing.nowhere);
  const items = places.slice(0, PLACES_NAMED).map(({ code, kind, part }) =>
    element(
      "li",
      {},
      element("span", { class: `dot ${kind}` }),
      placeButton(`${keyOf(swing)}/${code}/${kind}`, code, swing.started, known.placeName(code)),
      ` ${percent(part)} ${words().kinds[kind]}`,
    ),
  );
  const rest = places.length - items.length;
  if (rest > 0) items.push(element("li", { class: "note" }, words().swing.morePlaces(rest, count(rest))));
  return element("div", {}, note(words().swing.places), element("ul", { class: "parts" }, ...items));
}

function placeButton(id: string, code: string, started: string, ...children: (Node | string)[]): HTMLElement {
  return element("button", { type: "button", class: "place", id, "data-place": code, "data-started": started }, ...children);
}

/** A calendar that was in force, with its source; before it is read, its id. */
function annotation(id: string, known: Known): HTMLElement {
  const belief = known.annotations.get(id);
  if (!belief) return note(`${words().swing.annotation} `, element("code", {}, id));
  const text = [belief.text, belief.calendar].filter(Boolean).join(" ");
  return note(`${words().swing.annotation} `, element("b", {}, belief.subject), `${text && `: ${text}`} `, linkTo(belief));
}

/** How a swing went, if it has more than one event: each rise of its severity, and its end. */
function courseOf(swing: Swing): HTMLElement[] {
  const events = eventsOf(swing);
  if (events.length < 2) return [];
  const { states, severity, course } = words().swing;
  const items = events.map((event) => {
    const what = event.state === "firing" ? severity(event.severity, isOfPlace(event)) : states[event.state];
    return element("li", {}, `${moment(event.at)}: ${what}${event.delta === null ? "" : ` (${sizeOf(event)})`}`);
  });
  return [element("details", { id: `${keyOf(swing)}/course` }, element("summary", {}, course), element("ol", { class: "parts" }, ...items))];
}

function item(swing: Swing, known: Known): HTMLElement {
  const { swing: w } = words();
  const peak = peakOf(swing);
  const falls = (peak.delta ?? 0) < 0;
  const name = subjectOf(swing, known);
  const flag = (text: string): HTMLElement => element("small", { class: "flag" }, text);
  const title = isOfPlace(swing) ? placeButton(keyOf(swing), swing.place, swing.started, name) : element("bdi", {}, name);
  const badges = [
    element("small", { class: `state ${swing.state}` }, w.states[swing.state]),
    flag(isOfPlace(swing) ? w.ofPlace : w.ofPool),
    ...(peak.muted ? [flag(w.muted)] : []),
    ...(swing.simulated ? [flag(words().made)] : []),
  ];
  const why = isOfPlace(peak) ? poolsOf(peak, known) : placesOf(peak, known);
  return element(
    "li",
    { class: `swing ${isAlarming(swing) ? "own" : "others"}`, "data-swing": keyOf(swing) },
    element("h3", {}, title, " ", element("span", { class: "size" }, `${falls ? "▼" : "▲"} ${sizeOf(peak)}`), " ", ...badges),
    element("p", {}, comparison(peak)),
    element("p", {}, sentences(timeInWords(swing), w.severity(swing.severity, isOfPlace(swing)))),
    ...(isOfPlace(peak) ? [element("p", {}, driverInWords(peak))] : []),
    why,
    ...(isOfPlace(peak) && peak.kinds ? [kindsBar({ kinds: peak.kinds })] : []),
    ...(peak.annotations ?? []).map((id) => annotation(id, known)),
    ...courseOf(swing),
  );
}

/** Writes the feed: the newest swings, or all. */
export function renderSwings(swings: readonly Swing[] | null, known: Known, all: boolean): void {
  const { swing: w } = words();
  const feed = byId("swings");
  const open = new Set([...feed.querySelectorAll("details[open]")].map(({ id }) => id));
  const items = (swings ?? []).slice(0, all ? undefined : SHOWN).map((swing) => item(swing, known));
  for (const node of items.flatMap((one) => [...one.querySelectorAll("details")])) node.open = open.has(node.id);
  rewrite(feed, ...items);
  const state = byId("swings-state");
  state.hidden = items.length > 0;
  state.textContent = swings === null ? words().loading : w.none;
  const more = byId("swings-all");
  more.hidden = (swings ?? []).length <= SHOWN;
  more.textContent = all ? w.fewer : w.all(count((swings ?? []).length));
  more.setAttribute("aria-expanded", String(all));
}

/** How many swings are under way now, as a link to the feed. */
export function renderUnderWay(swings: readonly Swing[]): void {
  const firing = swings.filter((swing) => swing.state === "firing" && isAlarming(swing)).length;
  const link = byId("swings-now");
  link.hidden = firing === 0;
  link.textContent = words().swing.underWay(firing, count(firing));
}
