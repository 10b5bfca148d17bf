// The chart of shares over time: stacked or as lines, with what a chosen place could have instead,
// and under it how much of the network is seen and how much of that is not assumed.

import { LineChart } from "echarts/charts";
import { GridComponent, MarkAreaComponent, MarkLineComponent, TooltipComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { css } from "./colours";
import { element, isForMore } from "./dom";
import { bucket, percent, range } from "./format";
import { BANDS, bandColour, linesOf, SURE, timeOf } from "./lines";
import type { ShownHistory } from "./lines";
import type { ChartElement, Instance } from "./map";
import { marksAt } from "./swings";
import type { Mark } from "./swings";
import { words } from "./words";

echarts.use([LineChart, GridComponent, MarkAreaComponent, MarkLineComponent, TooltipComponent, CanvasRenderer]);

function bandSeries(shown: ShownHistory): object[] {
  const { place, frames } = shown;
  if (place === null || shown.chart === "stacked") return [];
  const rows = frames.map((frame) => frame.rows.find((row) => row.code === place));
  return Object.entries(BANDS).flatMap(([name, bound]) => {
    const found = rows.map((row) => (row ? bound(row) : null));
    const base = { type: "line", stack: `band-${name}`, symbol: "none", silent: true, lineStyle: { opacity: 0 }, z: 1 };
    const colour = bandColour(name as keyof typeof BANDS);
    return [
      { ...base, id: `band-${name}-low`, data: found.map((b) => b?.[0] ?? null) },
      {
        ...base,
        id: `band-${name}`,
        data: found.map((b) => (b ? b[1] - b[0] : null)),
        areaStyle: { color: colour, opacity: 0.22 },
      },
    ];
  });
}

const LABELS = 8; // that fit side by side
const LABEL_PX = 16;

/** The swings of the chosen place, as bands over their duration; one within a bucket is a line. */
function swingSeries({ marks, frames }: ShownHistory): object[] {
  if (marks.length === 0) return [];
  let labelled = -Infinity;
  const drawn = marks.map((mark) => {
    const show = mark.own && mark.from - labelled >= frames.length / LABELS;
    if (show) labelled = mark.from;
    // Swings that others caused are fainter.
    const colour = css(mark.own ? "--bad" : "--soft");
    const right = mark.from > frames.length / 2; // there the label would leave the chart on its right
    const ofLine = { position: "end", distance: -LABEL_PX, align: right ? "right" : "left", padding: [0, 4] };
    const place = mark.from === mark.to ? ofLine : { position: right ? "insideTopRight" : "insideTopLeft" };
    const label = { show, formatter: mark.size, color: colour, ...place };
    return { mark, label, colour };
  });
  const areas = drawn.filter(({ mark }) => mark.from < mark.to).map(({ mark, label, colour }) => [
    { name: mark.text, xAxis: mark.from, label, itemStyle: { color: colour, opacity: mark.own ? 0.2 : 0.1 } },
    { xAxis: mark.to },
  ]);
  const lines = drawn.filter(({ mark }) => mark.from === mark.to).map(({ mark, label, colour }) => ({
    name: mark.text, xAxis: mark.from, label, lineStyle: { color: colour, width: mark.own ? 2 : 1, type: mark.own ? "solid" : "dashed" },
  }));
  return [{
    type: "line", id: "swings", data: [], silent: true, z: 2,
    markArea: { silent: true, data: areas },
    markLine: { silent: true, symbol: "none", data: lines },
  }];
}

/** The option of the chart. */
export function chartOption(shown: ShownHistory): echarts.EChartsCoreOption {
  const { frames, step, chart, place, compare } = shown;
  const stacked = chart === "stacked";
  const lines = linesOf(shown);
  const inner = lines.some(({ code }) => code.includes("-"));
  const isFull = (code: string): boolean => place === null || code === place || compare.includes(code);
  const series: object[] = lines.map(({ code, name, colour, values }) => ({
    type: "line",
    id: code,
    name,
    data: values,
    symbol: frames.length < 3 ? "circle" : "none",
    triggerEvent: stacked ? false : "line", // areas are everywhere, so that no click could choose a time
    ...(stacked ? { stack: "shares", areaStyle: { opacity: isFull(code) ? 0.8 : 0.25 } } : {}),
    color: colour,
    lineStyle: { width: stacked ? 0.5 : code === place ? 3.5 : 1.75, opacity: stacked || isFull(code) ? 1 : 0.45 },
    z: code === place ? 4 : 3,
  }));
  if (stacked && lines.length > 0) {
    // Shares of subdivisions add up to their country's.
    const values = frames.map(({ rows }, n) => {
      const all = rows.reduce((sum, { share }) => sum + share, 0);
      return rows.length ? Math.max(0, all - lines.reduce((sum, line) => sum + (line.values[n] ?? 0), 0)) : null;
    });
    series.push({
      type: "line", id: "others", name: words().others, data: values, symbol: "none", stack: "shares",
      color: css("--prior"), areaStyle: { opacity: 0.35 }, lineStyle: { width: 0.5 }, silent: true,
    });
  }
  const sure = (id: string, name: string, colour: string, values: (number | null)[]): object => ({
    type: "line", id, name, data: values, symbol: "none", color: css(colour), xAxisIndex: 1, yAxisIndex: 1,
  });
  series.push(
    ...bandSeries(shown),
    ...swingSeries(shown),
    sure("coverage", words().coverage, SURE.coverage, frames.map((f) => (f.coverage === null ? null : Math.min(1, f.coverage)))),
    sure("evidence", words().evidence, SURE.evidence, frames.map((f) => f.evidence)),
  );
  const soft = css("--soft");
  const names = frames.map(({ asOf, window }) => bucket(timeOf(window) ?? asOf, step));
  const xAxis = (gridIndex: number, shownLabel: boolean): object => ({
    type: "category", gridIndex, data: names, boundaryGap: false,
    axisLabel: { show: shownLabel, color: soft, hideOverlap: true, showMaxLabel: true, alignMaxLabel: "right" },
    axisLine: { lineStyle: { color: css("--line") } }, axisTick: { show: shownLabel },
  });
  const yAxis = (gridIndex: number, max: number | undefined, more: object): object => ({
    type: "value", gridIndex, min: 0, max,
    axisLabel: { color: soft, formatter: (v: number) => percent(v), hideOverlap: true },
    splitLine: { lineStyle: { color: css("--line") } }, ...more,
  });
  return {
    animation: false,
    textStyle: { color: css("--ink"), fontFamily: "system-ui, sans-serif" },
    axisPointer: { link: [{ xAxisIndex: "all" }] },
    grid: [
      { left: 56, right: 14, top: 12, height: "62%", outerBoundsMode: "none" },
      { left: 56, right: 14, bottom: 34, height: "18%", outerBoundsMode: "none" },
    ],
    xAxis: [xAxis(0, false), xAxis(1, true)],
    yAxis: [yAxis(0, stacked && !inner ? 1 : undefined, {}), yAxis(1, 1, { splitNumber: 2 })],
    series,
  };
}

interface Hovered {
  seriesId: string;
  seriesName: string;
  dataIndex: number;
  value: number | null;
  axisValue: string;
  color: string;
}

export interface ChartEvents {
  choose: (code: string, compared: boolean) => void;
  goTo: (window: string) => void;
}

const NOTHING: ShownHistory = { frames: [], step: "day", chart: "lines", place: null, compare: [], at: null, marks: [] };

export class HistoryChart {
  readonly #container: ChartElement;
  readonly #chart: Instance;
  readonly #mark = element("div", { class: "mark-line", hidden: true });
  #shown: ShownHistory | null = null;

  constructor(container: ChartElement, events: ChartEvents) {
    this.#container = container;
    this.#chart = echarts.init(container);
    container.append(this.#mark);
    container.chart = this.#chart;
    this.#chart.setOption({
      tooltip: { trigger: "axis", confine: true, className: "tooltip", formatter: (hovered: Hovered[]) => tooltip(hovered, this.#shown) },
    });
    // A click on a line chooses its place; any other click chooses its time. ECharts reports the line last.
    let taken = false;
    this.#chart.on("click", ({ seriesName, event }) => {
      const line = linesOf(this.#shown ?? NOTHING).find(({ name }) => name === seriesName);
      taken = line !== undefined;
      if (line) events.choose(line.code, isForMore(event?.event as unknown as MouseEvent));
    });
    this.#chart.getZr().on("click", ({ offsetX, offsetY }: { offsetX: number; offsetY: number }) => {
      const at = this.#chart.convertFromPixel({ gridIndex: 0 }, [offsetX, offsetY])[0];
      const frame = at === undefined ? undefined : this.#shown?.frames[Math.round(at)];
      queueMicrotask(() => {
        if (frame && !taken) events.goTo(frame.window);
        taken = false;
      });
    });
    new ResizeObserver(() => {
      this.#chart.resize();
      this.mark(this.#shown?.at ?? null);
    }).observe(container);
  }

  /** Moves the mark to another time. It is an element of its own, because that is fast. */
  mark(at: string | null): void {
    const frames = this.#shown?.frames ?? [];
    const n = frames.findIndex(({ window }) => window === at);
    this.#mark.hidden = n < 0 || this.#container.hidden;
    if (!this.#mark.hidden) {
      const x = this.#chart.convertToPixel({ xAxisIndex: 0 }, n);
      this.#mark.style.transform = `translateX(${x}px)`;
    }
  }

  flush(): void {
    this.#chart.getZr().flush();
  }

  render(shown: ShownHistory): void {
    this.#shown = shown;
    this.#chart.setOption(chartOption(shown), { replaceMerge: ["series", "xAxis", "yAxis", "grid"] });
  }
}

/** What the chosen place's share could be instead, in the bucket that is pointed at. */
function rangesOf({ frames, place }: ShownHistory, n: number): HTMLElement[] {
  const row = frames[n]?.rows.find(({ code }) => code === place);
  return Object.entries(BANDS).flatMap(([name, bound]) => {
    const found = row ? bound(row) : null;
    return found
      ? [element("dt", {}, words().bands[name as keyof typeof BANDS]), element("dd", {}, range(...found))]
      : [];
  });
}

function tooltip(hovered: Hovered[], shown: ShownHistory | null): HTMLElement {
  const list = element("dl");
  for (const { seriesId, seriesName, value } of hovered) {
    if (seriesId.startsWith("band-") || typeof value !== "number") continue;
    const isChosen = seriesId === shown?.place;
    list.append(element("dt", {}, isChosen ? element("b", {}, seriesName) : seriesName), element("dd", {}, percent(value)));
    if (isChosen && shown.chart === "lines") list.append(...rangesOf(shown, hovered[0]?.dataIndex ?? -1));
  }
  const swings: Mark[] = shown ? marksAt(shown.marks, hovered[0]?.dataIndex ?? -1) : [];
  return element("div", {}, element("b", {}, hovered[0]?.axisValue ?? ""), list, ...swings.map(({ text }) => element("p", {}, text)));
}
