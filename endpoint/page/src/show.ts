// Writes what is known to the page. What changes while the time runs is written at once; the rest,
// which nobody reads at that speed, when the view has settled.

import type { HistoryChart, PlaceMap } from "./drawing";
import { showChoices } from "./choices";
import { classes, css, isDark, valueOf } from "./colours";
import { renderDetail } from "./detail";
import { renderSwings, renderUnderWay } from "./feed";
import { byId, element, rewrite, setText } from "./dom";
import { kindsInWords } from "./explain";
import { headlineOf, newestReport, renderBeliefs, renderBeside, renderPools, renderWaiting } from "./facts";
import type { Figures } from "./figures";
import type { Swing } from "./api";
import { age, bucket, moment, percent } from "./format";
import { nameOf } from "./frames";
import type { Frame } from "./frames";
import { bandColour, BANDS, linesOf, SURE, timeOf } from "./lines";
import type { Line, ShownHistory } from "./lines";
import { isLoaded, isOn } from "./shapes";
import type { Store } from "./state";
import { eventInWords, isAlarming, marksAt, marksOf } from "./swings";
import type { Mark } from "./swings";
import { renderTable } from "./table";
import { renderTake } from "./take";
import { renderWhy } from "./why";
import { words } from "./words";

const STALE_S = 120; // two minutes without a new snapshot
const LARGEST_SHOWN = 5;
const SETTLED_MS = 150;

type Drawing = typeof import("./drawing");

export interface PageEvents {
  choose: (code: string, compared?: boolean) => void;
  enter: (code: string) => void;
  goTo: (window: string | null) => void;
  poolsOf: (code: string) => Promise<string>;
}

/** Remembers what was written last, so that only what has changed is written again. */
class Written {
  readonly #last = new Map<string, readonly unknown[]>();

  forget(): void {
    this.#last.clear();
  }

  /** Whether any of these differs from the last time. */
  changed(part: string, ...from: unknown[]): boolean {
    const last = this.#last.get(part);
    this.#last.set(part, from);
    return last?.length !== from.length || from.some((value, n) => value !== last[n]);
  }
}

export class Page {
  /** Why the figures may be old, in words; null if nothing is wrong. */
  problem: string | null = null;
  /** Why nothing new comes, in words; null while the stream is open. */
  away: string | null = null;
  playing = false;
  /** Whether the feed has all swings, and not only the newest. */
  allSwings = false;
  readonly #store: Store;
  readonly #figures: Figures;
  readonly #events: PageEvents;
  #drawing: Drawing | null = null;
  #map: PlaceMap | null = null;
  #chart: HistoryChart | null = null;
  readonly #written = new Written();
  #settling: ReturnType<typeof setTimeout> | undefined;

  constructor(store: Store, figures: Figures, events: PageEvents) {
    this.#store = store;
    this.#figures = figures;
    this.#events = events;
    byId("chart-data").addEventListener("toggle", () => {
      this.#showChartTable();
    });
  }

  /** Draws from now on. */
  draw(drawing: Drawing): void {
    this.#drawing = drawing;
    const zoomed = (zoom: number, nearest: boolean): void => {
      // The button that was pressed may go away, and would take the focus with it.
      if (zoom === 1 && byId("zoom").contains(document.activeElement)) byId("zoom-in").focus();
      if (nearest) byId("zoom-out").focus();
      byId("zoom-in", HTMLButtonElement).disabled = nearest;
      byId("zoom-out", HTMLButtonElement).disabled = zoom === 1;
      byId("zoom-all").hidden = zoom === 1;
    };
    this.#map = new drawing.PlaceMap(byId("map"), { ...this.#events, zoomed });
    this.#chart = new drawing.HistoryChart(byId("chart"), this.#events);
    this.#written.forget();
    this.show();
  }

  zoom(factor: number): void {
    this.#map?.zoom(factor);
  }

  /** Writes everything; what comes while it plays is shown when that has ended. */
  show(): void {
    clearTimeout(this.#settling);
    this.#showTime();
    this.#showRest();
  }

  /** Writes everything and draws at once: a page that is printed waits for no frame. */
  redraw(): void {
    this.show();
    this.#map?.flush();
    this.#chart?.flush();
  }

  /** Writes what changes from one time to the next, and the rest when the view has settled. */
  step(): void {
    clearTimeout(this.#settling);
    this.#showTime(true);
    // While it plays the view does not settle: whatever is written then makes a step late.
    if (this.playing) return;
    this.#settling = setTimeout(() => {
      this.show();
    }, SETTLED_MS);
  }

  /** Saves a picture of what is shown. */
  save(what: "map" | "chart", format: "png" | "svg"): void {
    const { view } = this.#store;
    const frame = this.#figures.frame(view);
    const drawing = this.#drawing;
    if (!frame || !drawing) return;
    const window = this.#figures.window(view);
    const time = view.at === null ? words().windows[window] : this.#bucketName(view.at);
    const option = what === "map" ? drawing.mapOption({ ...view, frame }, { format, zoom: 1 }) : drawing.chartOption(this.#history());
    const subject = what === "map" ? `${words().measureMeans[view.measure]}, ${time}` : words().chartTitle;
    const name = `${what}-${view.at ?? window}`;
    void drawing.download({ name, title: `${words().title} – ${subject}`, option, frame }, format);
  }

  // --- at each step ------------------------------------------------------------------------------

  #showTime(running = false): void {
    const { view } = this.#store;
    const frame = this.#figures.frame(view);
    document.documentElement.classList.toggle("embed", view.embed);
    byId("simulated").hidden = !frame?.simulated;
    setText(byId("headline"), frame ? headlineOf(frame, this.#figures.beliefs) : this.problem === null ? words().loading : "");
    this.#showLargest(frame);
    this.showStatus();
    if (running) {
      this.#map?.recolour({ ...view, frame });
      this.#written.changed("map");
    } else if (
      isLoaded(view.map) &&
      this.#written.changed("map", frame, view.map, view.measure, view.place, view.compare, isDark())
    ) {
      this.#map?.render({ ...view, frame });
    }
    this.#showSlider();
    this.#chart?.mark(view.at);
  }

  /** How old the figures are, and whether something is wrong. */
  showStatus(): void {
    const { view } = this.#store;
    const frame = this.#figures.frame(view);
    const now = Date.now();
    const live = view.at === null;
    setText(byId("live"), view.at === null ? words().live : this.#bucketName(view.at));
    const newest = newestReport(this.#figures.pools, now);
    // A bucket of the history does not say when it was computed; the answer, which follows, does.
    const parts = frame?.answer ? [words().asOf(moment(frame.asOf))] : [];
    if (live && newest !== null) parts.push(words().newest(age(newest)));
    setText(byId("age"), parts.join(" · "));
    const old = frame && live ? (now - Date.parse(frame.asOf)) / 1000 : 0;
    const problem = this.problem ?? this.away ?? (old > STALE_S ? words().stale(age(old)) : null);
    byId("live").classList.toggle("off", !live || problem !== null);
    byId("problem").hidden = problem === null;
    setText(byId("problem"), problem ?? "");
  }

  /** The largest places, so that the first shares are on the first screen of a telephone too. */
  #showLargest(frame: Frame | null): void {
    const items = (frame?.rows ?? []).slice(0, LARGEST_SHOWN).map((row) =>
      element("li", {}, this.#placeButton("chip", row.code, nameOf(row.code, row.name), " ", element("b", {}, percent(row.share)))),
    );
    rewrite(byId("largest"), ...items);
  }

  #placeButton(kind: string, code: string, ...children: (Node | string)[]): HTMLElement {
    const { place, compare } = this.#store.view;
    const pressed = code === place || (kind === "key" && compare.includes(code)) ? "true" : "false";
    return element("button", { type: "button", class: kind, "data-place": code, "aria-pressed": pressed }, ...children);
  }

  #showSlider(): void {
    const { at } = this.#store.view;
    const { frames } = this.#figures;
    const slider = byId("slider", HTMLInputElement);
    const last = frames.length; // the position behind the last bucket is live
    const position = at === null ? last : Math.max(0, frames.findIndex(({ window }) => window === at));
    slider.max = String(last);
    slider.value = String(position);
    const text = at === null ? words().live : this.#bucketName(at);
    slider.setAttribute("aria-label", words().slider);
    slider.setAttribute("aria-valuetext", text);
    setText(byId("shown-time"), text);
    setText(byId("play"), this.playing ? `❚❚ ${words().pause}` : `▶ ${words().play}`);
    byId("go-live").hidden = at === null;
  }

  // --- when the view has settled -----------------------------------------------------------------

  #showRest(): void {
    const { view } = this.#store;
    const figures = this.#figures;
    const frame = figures.frame(view);
    const window = figures.window(view);
    setText(byId("map-title"), words().mapOf(words().maps[view.map]));
    this.#showLegend(frame);
    renderBeside(frame, (code) => isOn(view.map, code), view.place);
    renderDetail(frame, view.place, {
      clear: () => {
        if (view.place !== null) this.#events.choose(view.place);
      },
      enter: this.#events.enter,
    });
    if (this.#written.changed("said", view.place, frame === null)) this.#say(frame);
    renderWhy(figures.why(view), view, window);
    renderSwings(figures.swings, figures.known, this.allSwings);
    renderUnderWay(figures.swings ?? []);
    this.#showChart();
    if (this.#written.changed("table", frame, view.map, view.place, view.compare)) renderTable(frame, view);
    if (this.#written.changed("beliefs", frame, figures.beliefs)) renderBeliefs(frame?.answer ?? null, figures.beliefs);
    if (this.#written.changed("pools", figures.pools)) renderPools(figures.pools, Date.now());
    renderWaiting(frame, figures.pools, view.at === null);
    renderTake(view, window, frame);
    showChoices(view, window, figures.beliefs);
  }

  /** Says the chosen place once to who does not see it; its figures change too often to be read out. */
  #say(frame: Frame | null): void {
    const { place } = this.#store.view;
    const row = frame?.rows.find(({ code }) => code === place);
    const name = place === null ? "" : nameOf(place, row?.name ?? place);
    setText(byId("said"), row ? `${name}: ${percent(row.share)}, ${kindsInWords(row)}` : name);
  }

  /** Says a new event to who does not see the feed; what only others caused is in the feed alone. */
  saySwing(swing: Swing): void {
    if (isAlarming(swing)) setText(byId("swing-said"), eventInWords(swing, this.#figures.known));
  }

  #showLegend(frame: Frame | null): void {
    const { measure, place } = this.#store.view;
    const row = frame?.rows.find(({ code }) => code === place);
    const items = classes(measure, row ? valueOf(row, measure) : null).map(({ colour, label, chosen }) =>
      element("li", { "aria-current": chosen ? "true" : null }, swatch(colour), label),
    );
    const apart = (kind: string, label: string): HTMLLIElement =>
      element("li", { class: "apart" }, element("span", { class: `swatch ${kind}` }), label);
    if (measure !== "evidence") items.push(apart("hatched", words().mostlyAssumed));
    items.push(apart("none", words().noFigure));
    rewrite(
      byId("legend"),
      element("span", { class: "note" }, words().measureMeans[measure]),
      element("ul", { class: "classes" }, ...items),
    );
  }

  #showChart(): void {
    const { view } = this.#store;
    const shown = this.#history();
    const figures = this.#figures;
    const { hasHistory } = figures;
    if (!this.#written.changed("chart", hasHistory, shown.frames, view.step, view.chart, view.place, view.compare, figures.swings, isDark())) return;
    const any = shown.frames.some(({ rows }) => rows.length > 0);
    byId("chart").hidden = !any;
    byId("chart-empty").hidden = any || !hasHistory;
    const lines = linesOf(shown);
    const place = lines.find(({ code }) => code === view.place);
    const alone = place !== undefined && view.chart === "lines";
    byId("chart-help").hidden = !any;
    byId("compare-none").hidden = view.compare.length === 0;
    setText(byId("chart-title"), alone ? words().chartOf(place.name) : words().chartTitle);
    const named = `${words().chartTitle}: ${lines.map(({ name }) => name).join(words().comma)}`;
    byId("chart").setAttribute("aria-label", [named, ...this.#swingsInWords(shown.marks)].join(". "));
    if (any) this.#chart?.render(shown);
    rewrite(byId("chart-legend"), ...this.#chartKeys(shown, lines, alone));
    this.#showChartTable();
  }

  #chartKeys({ frames, chart, place, marks }: ShownHistory, lines: Line[], bands: boolean): HTMLElement[] {
    const keys: HTMLElement[] = lines.map(({ code, name, colour }) => element("li", {}, this.#placeButton("key", code, swatch(colour), name)));
    if (chart === "stacked") keys.push(element("li", {}, swatch(css("--prior"), "faint"), words().others));
    const rows = frames.flatMap((frame) => frame.rows.filter(({ code }) => code === place));
    const named = (names: readonly (keyof typeof BANDS)[]): HTMLElement[] =>
      names.map((band) => element("li", {}, swatch(bandColour(band), "faint"), words().bands[band]));
    const all = ["possible", "declared", "belief"] as const;
    if (bands) keys.push(...named(all.filter((band) => rows.some((row) => BANDS[band](row) !== null))));
    for (const name of ["coverage", "evidence"] as const) {
      keys.push(element("li", {}, swatch(css(SURE[name]), "thin"), words()[name]));
    }
    if (marks.length > 0) keys.push(element("li", {}, swatch(css("--bad"), "faint"), words().swing.key));
    return keys;
  }

  #swingsInWords(marks: readonly Mark[]): string[] {
    return marks.length ? [`${words().swingsTitle}: ${marks.map(({ text }) => text).join("; ")}`] : [];
  }

  /** The chart's twin, which is written only while it is open. */
  #showChartTable(): void {
    if (!byId("chart-data", HTMLDetailsElement).open) return;
    const shown = this.#history();
    const lines = linesOf(shown);
    const { marks } = shown;
    const swings = marks.length ? [words().swingsTitle] : [];
    const head = [words().time, ...lines.map(({ name }) => name), words().coverage, words().evidence, ...swings];
    const rows = shown.frames.map((frame, n) => {
      const ratios = [...lines.map(({ values }) => values[n] ?? null), frame.coverage, frame.evidence];
      return element(
        "tr",
        {},
        element("th", { scope: "row" }, this.#bucketName(frame.window)),
        ...ratios.map((ratio) => element("td", { class: "number" }, percent(ratio))),
        ...swings.map(() => element("td", {}, marksAt(marks, n).map(({ text }) => text).join("; "))),
      );
    });
    rewrite(
      byId("chart-table"),
      element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...rows.reverse()),
    );
  }

  // --- shared --------------------------------------------------------------------------------------

  #history(): ShownHistory {
    const { step, chart, place, compare, at } = this.#store.view;
    const { frames, swings } = this.#figures;
    return { frames, step, chart, place, compare, at, marks: marksOf(frames, place, swings ?? []) };
  }

  #bucketName(window: string): string {
    const at = timeOf(window);
    return at === null ? window : bucket(at, this.#store.view.step);
  }
}

function swatch(colour: string, kind = ""): HTMLElement {
  const node = element("span", { class: `swatch ${kind}`.trim() });
  node.style.background = colour;
  return node;
}
