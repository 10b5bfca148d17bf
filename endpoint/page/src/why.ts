// Why: the pools that the chosen place's share consists of, and how each changed it.

import { address, choices } from "./api";
import { byId, element, rewrite } from "./dom";
import { percent, points } from "./format";
import { cell, kindsBar } from "./table";
import type { Contributions } from "./api";
import type { View, Window } from "./state";
import { words } from "./words";

const LARGEST = 8;
/** The longer window that each is compared with. */
const AGAINST: Record<Window, Window | null> = { now: "24h", "1h": "24h", "24h": "7d", "7d": "30d", "30d": null };

/** The address of the contributions to the chosen place, or null without one. */
export function whyAddress(view: Pick<View, "place" | "at" | "adjust" | "prior">, window: Window): string | null {
  if (view.place === null) return null;
  const against = view.at === null ? AGAINST[window] : null;
  return address("contributions", { code: view.place, window: view.at ?? window, against, ...choices(view) });
}

function againstWindow(view: View, window: Window): Window | null {
  return view.at === null ? AGAINST[window] : null;
}

export function renderWhy(found: Contributions | null, view: View, window: Window): void {
  const node = byId("why");
  if (!found) {
    node.replaceChildren();
    return;
  }
  const against = found.delta === null ? null : againstWindow(view, window);
  const shown = found.pools.filter(({ share, delta }) => share > 0 || delta !== null).slice(0, LARGEST);
  const head = [words().poolColumns.pool, words().part, ...(against ? [words().whyChange(words().windows[against])] : [])];
  const rows = shown.map(({ name, share, delta, kinds }) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, element("bdi", {}, name), kindsBar({ kinds })),
      ...[percent(share), ...(against ? [points(delta)] : [])].map((text, n) => cell(head[n + 1] ?? "", "number", text)),
    ),
  );
  rewrite(
    node,
    element("h4", {}, words().whyTitle),
    shown.length
      ? element(
          "table",
          { class: "plain" },
          element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
          element("tbody", {}, ...rows),
        )
      : element("p", { class: "note" }, words().whyNone),
  );
}

