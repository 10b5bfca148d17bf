// The map. Its geometry is projected when the page is built, so coordinates are drawn as they are.

import { MapChart } from "echarts/charts";
import { AriaComponent, GeoComponent, GraphicComponent, TooltipComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import type { ShareRow } from "./api";
import { colour, css, isDarkColour, valueOf } from "./colours";
import { tooltipOf } from "./explain";
import { isAssumed, nameOf } from "./frames";
import type { Frame } from "./frames";
import type { MapName, Measure } from "./state";
import { codesOf, featuresOf, isLoaded } from "./shapes";
import { words } from "./words";

echarts.use([MapChart, GeoComponent, TooltipComponent, AriaComponent, GraphicComponent, CanvasRenderer]);

export type Instance = echarts.ECharts;

/** An element with a chart in it; the chart is there for tests, which read its data back. */
export type ChartElement = HTMLElement & { chart?: Instance };

export interface Shown {
  frame: Frame | null;
  map: MapName;
  measure: Measure;
  place: string | null;
}

/** Gives a map's shapes to ECharts, once. */
function register(map: MapName): void {
  if (echarts.getMap(map)) return;
  echarts.registerMap(map, { type: "FeatureCollection", features: featuresOf(map) } as never, {});
}

/** The option of a map whose shapes are loaded. */
export function mapOption(shown: Shown): echarts.EChartsCoreOption {
  const { frame, map, measure, place } = shown;
  register(map);
  const rows = new Map(frame?.rows.map((row) => [row.code, row]));
  const line = css("--map-line");
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
        selectedMode: "single",
        label: { show: false },
        itemStyle: { areaColor: css("--map-land"), borderColor: line, borderWidth: 0.5 },
        emphasis: {
          label: { show: false },
          itemStyle: { borderColor: css("--ink"), borderWidth: 1.5 },
        },
        select: {
          label: { show: false },
          itemStyle: { borderColor: css("--chosen"), borderWidth: 3 },
        },
        data: codesOf(map).map((code) => item(code, rows.get(code), measure, code === place)),
      },
    ],
  };
}

function item(code: string, row: ShareRow | undefined, measure: Measure, selected: boolean): object {
  const value = row ? valueOf(row, measure) : null;
  const style = { areaColor: fillOf(row, measure) };
  // Without its colour in each state, a chosen place would have the colour that ECharts has for it.
  return {
    name: code,
    value: value ?? NaN,
    selected,
    row: row ?? null,
    hatched: isHatched(row, measure),
    itemStyle: style,
    emphasis: { itemStyle: style },
    select: { itemStyle: style },
  };
}

type Fill = string | { image: HTMLCanvasElement; imageWidth: number; imageHeight: number; repeat: "repeat" };

const isHatched = (row: ShareRow | undefined, measure: Measure): boolean =>
  row !== undefined && measure !== "evidence" && isAssumed(row);

function fillOf(row: ShareRow | undefined, measure: Measure): Fill {
  const value = row ? valueOf(row, measure) : null;
  const plain = value === null ? css("--map-land") : colour(value, measure);
  return isHatched(row, measure) ? hatched(plain) : plain;
}

const HATCH_PX = 8;
const hatchings = new Map<string, Fill>();

/** A colour with the hatching of what is mostly assumed, light on dark colours. */
function hatched(plain: string): Fill {
  const known = hatchings.get(plain);
  if (known) return known;
  const image = document.createElement("canvas");
  image.width = image.height = HATCH_PX;
  const drawing = image.getContext("2d");
  if (!drawing) return plain;
  drawing.fillStyle = plain;
  drawing.fillRect(0, 0, HATCH_PX, HATCH_PX);
  drawing.strokeStyle = isDarkColour(plain) ? "rgba(255,255,255,0.6)" : "rgba(40,40,40,0.55)";
  drawing.lineWidth = 1.5;
  drawing.beginPath();
  // Three lines, so that the pattern continues across its edges.
  for (const shift of [-HATCH_PX, 0, HATCH_PX]) {
    drawing.moveTo(shift, HATCH_PX);
    drawing.lineTo(shift + HATCH_PX, 0);
  }
  drawing.stroke();
  // With its size, so that a picture in SVG need not load it.
  const fill: Fill = { image, imageWidth: HATCH_PX, imageHeight: HATCH_PX, repeat: "repeat" };
  hatchings.set(plain, fill);
  return fill;
}

/** What ECharts has inside, as far as it is used here; the version is pinned. */
interface Inside {
  getModel(): { getSeriesByIndex(n: number): { getData(): { getItemGraphicEl(n: number): Group | undefined } } };
}

interface Group {
  traverse(visit: (shape: { setStyle?(style: { fill: Fill }): void }) => void): void;
}

export interface MapEvents {
  choose: (code: string) => void;
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
  #zoom = 1;

  constructor(container: ChartElement, events: MapEvents) {
    this.#events = events;
    this.#container = container;
    this.#chart = echarts.init(container);
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
    this.#chart.on("click", ({ name }) => {
      if (!name.startsWith("#")) events.choose(name);
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
    for (const [n, code] of codesOf(shown.map).entries()) {
      const fill = fillOf(rows.get(code), shown.measure);
      shapes.getItemGraphicEl(n)?.traverse((shape) => shape.setStyle?.({ fill }));
    }
  }

  /**
   * Brings the map nearer by a factor, or shows it whole (0). A chosen place comes to the middle, which needs
   * no dragging; the wheel and the finger still move the page, until the map is nearer than whole.
   */
  zoom(factor: number): void {
    this.#zoom = Math.min(NEAREST, Math.max(1, this.#zoom * factor));
    const whole = this.#zoom === 1;
    const middle = whole ? null : this.#middleOf(this.#shown?.place ?? null);
    this.#chart.setOption({
      series: [{ zoom: this.#zoom, roam: whole ? false : "move", ...(whole || middle ? { center: middle } : {}) }],
    });
    this.#events.zoomed(this.#zoom, this.#zoom === NEAREST);
  }

  #middleOf(place: string | null): number[] | null {
    if (place === null || !codesOf(this.#shown?.map ?? "world").includes(place)) return null;
    const series = { seriesIndex: 0 };
    return this.#chart.convertFromPixel(series, this.#chart.convertToPixel(series, place as never) as unknown as number[]);
  }

  render(shown: Shown): void {
    if (!isLoaded(shown.map)) return;
    const changed = this.#shown?.map !== shown.map;
    this.#shown = shown;
    if (changed && this.#zoom > 1) this.zoom(0);
    this.#chart.setOption(mapOption(shown), changed ? { replaceMerge: ["series"] } : {});
    this.#container.setAttribute("aria-label", describe(shown));
  }
}

function describe({ frame, map }: Shown): string {
  const largest = (frame?.rows ?? []).slice(0, 5).map((row) => nameOf(row.code, row.name));
  return `${words().mapOf(words().maps[map])}: ${largest.join(", ")}`;
}
