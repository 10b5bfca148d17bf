// The table of places: the twin of the map for everybody who does not see it.

import type { ShareRow } from "./api";
import { byId, element, rewrite, span } from "./dom";
import { hashrate, percent, range } from "./format";
import { nameOf, total } from "./frames";
import type { Frame } from "./frames";
import { KINDS, kindsInWords } from "./explain";
import type { View } from "./state";
import { words } from "./words";

export function cell(label: string, className: string | null, ...children: (Node | string)[]): HTMLElement {
  return element("td", { "data-label": label, class: className }, ...children);
}

/** A range as a bar from 0 to 100 %, with the share marked in it, and as text. */
function rangeCell(label: string, low: number | null, high: number | null, share: number): HTMLElement {
  const text = range(low, high);
  if (low === null || high === null) return cell(label, null, text);
  const track = element("div", { class: "track", "aria-hidden": "true" }, span("band", low, high), span("mark", share, share));
  return cell(label, null, track, element("small", {}, text));
}

/** A bar of the kinds that a hashrate consists of. */
export function kindsBar(row: Pick<ShareRow, "kinds">): HTMLElement {
  const whole = total(row.kinds);
  const label = kindsInWords(row as ShareRow);
  const bar = element("div", { class: "kinds", role: "img", title: label, "aria-label": label || "–" });
  for (const kind of KINDS) {
    if (row.kinds[kind] <= 0) continue;
    const part = element("span", { class: kind });
    part.style.flexGrow = String(row.kinds[kind] / whole);
    bar.append(part);
  }
  return bar;
}

/** A place's flags, each with its reason. */
function flagsOf(row: ShareRow): HTMLElement[] {
  const { flags, flagShort } = words();
  return row.flags.map((flag) =>
    // The reason is text too, because a title is not read out; the panel shows it to everybody.
    element(
      "small",
      { class: "flag", title: flags[flag] ?? flag },
      flagShort[flag] ?? flag,
      element("span", { class: "hidden-title" }, ` (${flags[flag] ?? flag})`),
    ),
  );
}

type Chosen = Pick<View, "map" | "place" | "compare">;

function placeHeader(row: ShareRow, { place, compare }: Chosen): HTMLElement {
  const name = nameOf(row.code, row.name);
  const chosen = row.code === place;
  const button = element(
    "button",
    { type: "button", class: "place", "data-place": row.code, "aria-pressed": chosen ? "true" : "false" },
    name,
  );
  const label = words().compare(name);
  const box = element("input", {
    type: "checkbox", class: "compare", "data-compare": row.code, "aria-label": label, title: label, checked: chosen || compare.includes(row.code),
  });
  return element("th", { scope: "row" }, box, button, element("small", {}, row.code), ...flagsOf(row));
}

function rowOf(row: ShareRow, view: Chosen): HTMLElement {
  const { columns } = words();
  return element(
    "tr",
    { class: row.code === view.place ? "chosen" : null, "data-code": row.code },
    placeHeader(row, view),
    cell(columns.share, "number share", percent(row.share)),
    rangeCell(columns.possible, row.low, row.high, row.share),
    rangeCell(columns.declared, row.declared_low, row.declared_high, row.share),
    cell(columns.without, null, range(row.sensitivity?.[0], row.sensitivity?.[1])),
    cell(columns.belief, null, range(row.belief?.[0], row.belief?.[1])),
    cell(columns.kinds, null, kindsBar(row)),
    cell(columns.hashrate, "number", hashrate(row.hashrate)),
  );
}

export function renderTable(frame: Frame | null, view: Chosen): void {
  byId("table-title").textContent = words().tableTitle[view.map];
  const rows = frame?.rows ?? [];
  rewrite(byId("rows"), ...rows.map((row) => rowOf(row, view)));
  byId("table").hidden = rows.length === 0;
  byId("empty").hidden = rows.length > 0 || frame === null;
}
