// The choices of the view, and the words of the page.

import type { Belief } from "./api";
import { byId, element } from "./dom";
import { KINDS } from "./explain";
import { CHARTS, MAPS, MEASURES, STEPS, WINDOWS } from "./state";
import type { Store, View, Window } from "./state";
import { language, otherLanguage, words } from "./words";

function chips<T extends string>(id: string, values: readonly T[], names: Record<T, string>, pick: (value: T) => void): void {
  const inputs = values.map((value) => {
    const input = element("input", { type: "radio", name: id, value });
    input.addEventListener("change", () => { pick(value); });
    return element("label", {}, input, element("span", {}, names[value]));
  });
  byId(id).replaceChildren(...inputs);
}

/** Folds the choices on a telephone, where the map comes first. */
function foldOn(narrow: MediaQueryList): void {
  const fold = (): void => { byId("choices-box", HTMLDetailsElement).open = !narrow.matches; };
  narrow.addEventListener("change", fold);
  fold();
}

export function makeChoices(store: Store): void {
  const w = words();
  foldOn(matchMedia("(max-width: 44rem)"));
  chips("windows", WINDOWS, w.windows, (window) => { store.set({ window, at: null }); });
  chips("measures", MEASURES, w.measures, (measure) => { store.set({ measure }); });
  chips("maps", MAPS, w.maps, (name) => { store.set({ map: name, place: null, compare: [] }); });
  chips("adjusts", ["published", "none"], w.adjusts, (adjust) => { store.set({ adjust }); });
  chips("steps", STEPS, w.steps, (step) => { store.set({ step, at: null }); });
  chips("charts", CHARTS, w.charts, (kind) => { store.set({ chart: kind }); });
  byId("prior").addEventListener("change", () => {
    store.set({ prior: byId("prior", HTMLSelectElement).value });
  });
  byId("zoom-in").setAttribute("aria-label", w.zoomIn);
  byId("zoom-out").setAttribute("aria-label", w.zoomOut);
  byId("zoom").setAttribute("aria-label", w.mapLegend);
  const kinds = KINDS.map((kind) => element("li", {}, element("span", { class: kind }), w.kinds[kind]));
  byId("kinds-legend").replaceChildren(...kinds);
  byId("reading").replaceChildren(
    ...w.reading.map(([kind, name, text], n) => {
      const word = element("a", { href: `method#${w.readingAt[n] ?? ""}`, class: kind ? `${kind}-text` : null }, name);
      return element("li", {}, element("b", {}, word), `: ${text}`);
    }),
  );
}

function check(id: string, value: string): void {
  for (const input of byId(id).querySelectorAll("input")) input.checked = input.value === value;
}

export function showChoices(view: View, window: Window, beliefs: ReadonlyMap<string, Belief>): void {
  check("windows", view.at === null ? window : "");
  check("measures", view.measure);
  check("maps", view.map);
  check("adjusts", view.adjust);
  check("steps", view.step);
  check("charts", view.chart);
  const select = byId("prior", HTMLSelectElement);
  const priors = [...beliefs.values()].filter(({ kind, id }) => kind === "prior" && id.startsWith("network/"));
  const ids = new Set(["default", "none", ...priors.map(({ id }) => id), view.prior]);
  if (select.options.length !== ids.size) {
    const { priors: names } = words();
    const nameOfPrior = (id: string): string =>
      id === "default" || id === "none" ? names[id] : (beliefs.get(id)?.publisher ?? id);
    select.replaceChildren(...[...ids].map((id) => element("option", { value: id }, nameOfPrior(id))));
  }
  select.value = view.prior;
  byId("language", HTMLAnchorElement).href = otherLanguage();
}

export function writeWords(): void {
  document.documentElement.lang = language() === "zh" ? "zh-Hans" : "en";
  document.title = words().title;
  for (const node of document.querySelectorAll<HTMLElement>("[data-word]")) {
    const text = (node.dataset.word ?? "").split(".").reduce<unknown>((w, name) => (w as Record<string, unknown>)[name], words());
    if (typeof text === "string") node.textContent = text;
  }
  const link = byId("language", HTMLAnchorElement);
  link.textContent = words().language;
  link.hreflang = language() === "zh" ? "en" : "zh";
  link.lang = link.hreflang;
}

