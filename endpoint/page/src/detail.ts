// The chosen place: its figures, and the pools that its share consists of.

import { byId, element, rewrite } from "./dom";
import { factsOf, kindsInWords } from "./explain";
import { nameOf } from "./frames";
import type { Frame } from "./frames";
import { kindsBar } from "./table";
import { words } from "./words";

export interface DetailEvents {
  clear: () => void;
  enter: (code: string) => void;
}

/** The countries that have a map of their own. */
export const INNER_MAPS = ["CN", "US"] as const;

export function renderDetail(frame: Frame | null, place: string | null, events: DetailEvents): void {
  const body = byId("detail-body");
  if (place === null) {
    rewrite(body, element("p", { class: "note" }, words().choose));
    return;
  }
  const row = frame?.rows.find(({ code }) => code === place);
  const title = element("h3", {}, nameOf(place, row?.name ?? place), " ", element("small", {}, place));
  const clear = element("button", { type: "button", class: "clear", "aria-label": words().clear, title: words().clear }, "×");
  clear.addEventListener("click", events.clear);
  const parts: HTMLElement[] = [element("div", { class: "title-row" }, title, clear)];
  if (!row) {
    parts.push(element("p", {}, words().notListed));
  } else {
    const list = element("dl", { class: "facts-list" });
    for (const [name, text] of factsOf(row)) list.append(element("dt", {}, name), element("dd", {}, text));
    parts.push(kindsBar(row), element("p", { class: "note" }, kindsInWords(row)), list);
    for (const flag of row.flags) parts.push(element("p", { class: "note" }, words().flags[flag] ?? flag));
  }
  const inner = INNER_MAPS.find((one) => one === place);
  if (inner) {
    const enter = element("button", { type: "button", class: "enter" }, words().into(words().maps[inner]));
    enter.addEventListener("click", () => {
      events.enter(place);
    });
    parts.push(enter);
  }
  rewrite(body, ...parts);
}
