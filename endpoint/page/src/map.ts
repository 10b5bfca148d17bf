// The map. Its geometry is projected when the page is built, so coordinates are drawn as they are.

import { MapChart } from "echarts/charts";
import { AriaComponent, GeoComponent, GraphicComponent, TooltipComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import type { ShareRow } from "./api";
import { colour, css, isDarkColour, valueOf } from "./colours";
import { tooltipOf } from "./explain";
import { isForMore } from "./dom";
import { isAssumed, nameOf } from "./frames";
import type { Frame } from "./frames";
import type { MapName, Measure } from "./state";
import { codesOf, featuresOf, isLoaded } from "./shapes";
import { words } from "./words";

echarts.use([MapChart, GeoComponent, TooltipComponent, AriaComponent, GraphicComponent, SVGRenderer]);

export type Instance = echarts.ECharts;

/** An element with a chart in it; the chart is there for tests, which read its data back. */
export type ChartElement = HTMLElement & { chart?: Instance };

export interface Shown {
  frame: Frame | null;
  map: MapName;
  measure: Measure;
  place: string | null;
  compare: readonly string[];
}

/** What the map is drawn for, and how near it is. */
export interface Drawn {
  format: "svg" | "png";
  zoom: number;
}

/** Gives a map's shapes to ECharts, once. */
function register(map: MapName): void {
  if (echarts.getMap(map)) return;
  echarts.registerMap(map, { type: "FeatureCollection", features: featuresOf(map) } as never, {});
}

/** The option of a map whose shapes are loaded. */
export function mapOption(shown: Shown, drawn: Drawn): echarts.EChartsCoreOption {
  const { frame, map } = shown;
  register(map);
  const rows = new Map(frame?.rows.map((row) => [row.code, row]));
  const line = css("--map-line");
  const land = css("--map-land");
  return {
    animation: false,
    aria: { enabled: false },
    series: [
      {
        type: "map",
        map,
        nameProperty: "name",
        aspectScale: 1,
        top: 4,
        bottom: 4,
        left: 4,
        right: 4,
        selectedMode: "multiple",
        // ECharts itself would keep what was selected before.
        selectedMap: Object.fromEntries(codesOf(map).map((code) => [code, isChosen(code, shown)])),
        label: { show: false },
        itemStyle: { areaColor: land, borderColor: line, borderWidth: 0.5 },
        emphasis: {
          label: { show: false },
          itemStyle: { borderColor: css("--ink"), borderWidth: 1.5 },
        },
        select: {
          label: { show: false },
          itemStyle: { borderColor: css("--chosen"), borderJoin: "round" }, // without spikes at islands
        },
        data: codesOf(map).map((code) => item(code, rows.get(code), shown, fillOf(rows.get(code), shown.measure, land, drawn))),
      },
    ],
  };
}

const isChosen = (code: string, { place, compare }: Shown): boolean => code === place || compare.includes(code);

function item(code: string, row: ShareRow | undefined, shown: Shown, areaColor: Fill): object {
  const { measure } = shown;
  const value = row ? valueOf(row, measure) : null;
  const style = { areaColor };
  // Without its colour in each state, a chosen place would have the colour that ECharts has for it.
  return {
    name: code,
    value: value ?? NaN,
    selected: isChosen(code, shown),
    row: row ?? null,
    hatched: isHatched(row, measure),
    itemStyle: style,
    emphasis: { itemStyle: style },
    select: { itemStyle: { ...style, borderWidth: code === shown.place && !isNarrow() ? 3 : 1.5 } },
  };
}

type Fill = string | Pattern;

/** A pattern as ECharts has it: an image for a canvas, elements for SVG, which need no loading. */
type Pattern = { repeat: "repeat"; scaleX: number; scaleY: number } & (
  | { image: HTMLCanvasElement; imageWidth: number; imageHeight: number }
  | { svgElement: SvgNode; svgWidth: number; svgHeight: number }
);

interface SvgNode {
  tag: string;
  attrs: Record<string, string | number>;
  children: SvgNode[];
}

const isHatched = (row: ShareRow | undefined, measure: Measure): boolean =>
  row !== undefined && measure !== "evidence" && isAssumed(row);

function fillOf(row: ShareRow | undefined, measure: Measure, land: string, drawn: Drawn): Fill {
  const value = row ? valueOf(row, measure) : null;
  const plain = value === null ? land : colour(value, measure);
  return isHatched(row, measure) ? hatched(plain, drawn) : plain;
}

const HATCH_PX = 8;
const HATCH_WIDTH = 1.5;
// Three lines, so that the pattern continues across its edges.
const HATCH_LINES = [-HATCH_PX, 0, HATCH_PX].map((shift) => `M${shift} ${HATCH_PX}l${HATCH_PX} ${-HATCH_PX}`).join("");
const hatchings = new Map<string, Pattern>();

/** A colour with the hatching of what is mostly assumed, light on dark colours. */
function hatched(plain: string, { format, zoom }: Drawn): Pattern {
  const key = `${plain} ${format} ${zoom}`;
  const known = hatchings.get(key);
  if (known) return known;
  const line = isDarkColour(plain) ? "rgba(255,255,255,0.6)" : "rgba(40,40,40,0.55)";
  const pattern: Pattern = {
    ...(format === "svg" ? hatchingElements(plain, line) : hatchingImage(plain, line)),
    repeat: "repeat",
    scaleX: 1 / zoom,
    scaleY: 1 / zoom,
  };
  hatchings.set(key, pattern);
  return pattern;
}

function hatchingElements(plain: string, line: string): { svgElement: SvgNode; svgWidth: number; svgHeight: number } {
  const node = (tag: string, attrs: SvgNode["attrs"], ...children: SvgNode[]): SvgNode => ({ tag, attrs, children });
  const svgElement = node(
    "g",
    {},
    node("rect", { width: HATCH_PX, height: HATCH_PX, fill: plain }),
    node("path", { d: HATCH_LINES, stroke: line, "stroke-width": HATCH_WIDTH }),
  );
  return { svgElement, svgWidth: HATCH_PX, svgHeight: HATCH_PX };
}

function hatchingImage(plain: string, line: string): { image: HTMLCanvasElement; imageWidth: number; imageHeight: number } {
  const image = document.createElement("canvas");
  image.width = image.height = HATCH_PX;
  const drawing = image.getContext("2d");
  if (!drawing) throw new Error("the browser has no canvas");
  drawing.fillStyle = plain;
  drawing.fillRect(0, 0, HATCH_PX, HATCH_PX);
  drawing.strokeStyle = line;
  drawing.lineWidth = HATCH_WIDTH;
  drawing.stroke(new Path2D(HATCH_LINES));
  return { image, imageWidth: HATCH_PX, imageHeight: HATCH_PX };
}

/** What ECharts has inside, as far as it is used here; the version is pinned. */
interface Inside {
  getModel(): { getSeriesByIndex(n: number): { getData(): { getItemGraphicEl(n: number): Group | undefined } } };
}

interface Group {
  traverse(visit: (shape: { style?: { fill: Fill }; setStyle?(style: { fill: Fill }): void }) => void): void;
}

export interface MapEvents {
  choose: (code: string, compared?: boolean) => void;
  enter: (code: string) => void;
  /** The pools of a place and the age of their newest report, in words. */
  poolsOf: (code: string) => Promise<string>;
  /** The map is shown so many times its size. */
  zoomed: (zoom: number, nearest: boolean) => void;
}

const NEAREST = 16;
const FINGER_PX = 28;

const isNarrow = (): boolean => matchMedia("(max-width: 44rem)").matches;

interface Sizes {
  contentSize: [number, number];
  viewSize: [number, number];
}

/** Where the tooltip is on a narrow screen; on others, where ECharts has it. */
function belowFinger([x, y]: [number, number], _data: object, _node: object, _shape: object, sizes: Sizes): [number, number] | null {
  if (!isNarrow()) return null;
  const free = sizes.viewSize[0] - sizes.contentSize[0];
  return [Math.max(0, Math.min(free, x - sizes.contentSize[0] / 2)), y + FINGER_PX];
}

export class PlaceMap {
  readonly #container: ChartElement;
  readonly #chart: Instance;
  readonly #events: MapEvents;
  #shown: Shown | null = null;
  #drawn: Drawn = { format: "svg", zoom: 1 };

  constructor(container: ChartElement, events: MapEvents) {
    this.#events = events;
    this.#container = container;
    this.#chart = echarts.init(container, null, { renderer: "svg" }); // whose shapes change colour one by one
    container.chart = this.#chart;
    this.#chart.setOption({
      tooltip: {
        trigger: "item",
        // On a telephone it would cover the map, the place that it is about included, so it is below the finger.
        confine: !isNarrow(),
        position: belowFinger,
        className: "tooltip",
        formatter: ({ name, data }: { name: string; data?: { row: ShareRow | null } }) =>
          name.startsWith("#") ? "" : tooltipOf(name, data?.row ?? null, events.poolsOf),
      },
    });
    this.#chart.on("click", ({ name, event }) => {
      if (!name.startsWith("#")) events.choose(name, isForMore(event?.event as unknown as MouseEvent));
    });
    this.#chart.on("dblclick", ({ name }) => {
      events.enter(name);
    });
    new ResizeObserver(() => {
      this.#chart.resize();
    }).observe(container);
  }

  /**
   * Only changes the colours of the places, for another time. ECharts itself would rebuild all shapes,
   * which is too slow while the time runs. It is followed by render() when the time stands still.
   */
  recolour(shown: Shown): void {
    if (this.#shown?.map !== shown.map || this.#shown.measure !== shown.measure) {
      this.render(shown);
      return;
    }
    const rows = new Map(shown.frame?.rows.map((row) => [row.code, row]));
    const shapes = (this.#chart as unknown as Inside).getModel().getSeriesByIndex(0).getData();
    const land = css("--map-land");
    this.#shown = shown;
    for (const [n, code] of codesOf(shown.map).entries()) {
      const fill = fillOf(rows.get(code), shown.measure, land, this.#drawn);
      shapes.getItemGraphicEl(n)?.traverse((shape) => {
        if (shape.style?.fill !== fill) shape.setStyle?.({ fill });
      });
    }
  }

  /**
   * Brings the map nearer by a factor, or shows it whole (0). A chosen place comes to the middle, which needs
   * no dragging; the wheel and the finger still move the page, until the map is nearer than whole.
   */
  zoom(factor: number): void {
    const zoom = Math.min(NEAREST, Math.max(1, this.#drawn.zoom * factor));
    this.#drawn = { format: "svg", zoom };
    const whole = zoom === 1;
    const middle = whole ? null : this.#middleOf(this.#shown?.place ?? null);
    this.#chart.setOption({
      series: [{ zoom, roam: whole ? false : "move", ...(whole || middle ? { center: middle } : {}) }],
    });
    if (this.#shown) this.render(this.#shown); // so that the hatching stays as fine as it was
    this.#events.zoomed(zoom, zoom === NEAREST);
  }

  #middleOf(place: string | null): number[] | null {
    if (place === null || !codesOf(this.#shown?.map ?? "world").includes(place)) return null;
    const series = { seriesIndex: 0 };
    return this.#chart.convertFromPixel(series, this.#chart.convertToPixel(series, place as never) as unknown as number[]);
  }

  flush(): void {
    this.#chart.getZr().flush();
  }

  render(shown: Shown): void {
    if (!isLoaded(shown.map)) return;
    const changed = this.#shown?.map !== shown.map;
    if (changed && this.#drawn.zoom > 1) this.zoom(0);
    this.#shown = shown;
    this.#chart.setOption(mapOption(shown, this.#drawn), changed ? { replaceMerge: ["series"] } : {});
    this.#container.setAttribute("aria-label", describe(shown));
  }
}

function describe({ frame, map }: Shown): string {
  const largest = (frame?.rows ?? []).slice(0, 5).map((row) => nameOf(row.code, row.name));
  return `${words().mapOf(words().maps[map])}: ${largest.join(", ")}`;
}
