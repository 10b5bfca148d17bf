// Pictures of the map and the chart, with their source and time on them.

import * as echarts from "echarts/core";
import { CanvasRenderer, SVGRenderer } from "echarts/renderers";
import { css } from "./colours";
import { element } from "./dom";
import { moment } from "./format";
import type { Frame } from "./frames";
import { words } from "./words";

echarts.use([CanvasRenderer, SVGRenderer]);

const SIZE = { width: 1200, height: 700 };
const STAMP_HEIGHT = 44;

type Option = Record<string, unknown>;
export type Format = "png" | "svg";

/** A picture of a chart with its title, source and time on it, and whether it is simulated. */
export interface Picture {
  name: string;
  title: string;
  option: Option;
  frame: Frame;
}

function stamped({ title, option, frame }: Picture): Option {
  const text = (content: string, more: object): object => ({
    type: "text",
    silent: true,
    z: 100,
    style: { text: content, fill: css("--ink"), font: "16px system-ui, sans-serif", ...more },
  });
  const source = words().stamp(new URL("./", location.href).host, moment(frame.asOf));
  const graphic: object[] = [
    { ...text(title, { font: "600 20px system-ui, sans-serif" }), left: 16, top: 10 },
    { ...text(source, { fill: css("--soft"), font: "14px system-ui, sans-serif" }), left: 16, bottom: 10 },
  ];
  if (frame.simulated) {
    graphic.push({ ...text(words().stampSimulated, { fill: css("--bad"), font: "700 20px system-ui, sans-serif" }), right: 16, top: 10 });
  }
  return { ...option, backgroundColor: css("--card"), graphic, ...inset(option) };
}

/** Makes room for the title and the stamp. */
function inset(option: Option): Option {
  const series = option.series as Option[];
  if (series[0]?.type === "map") {
    return { series: series.map((one) => ({ ...one, top: STAMP_HEIGHT, bottom: STAMP_HEIGHT })) };
  }
  const grid = (option.grid as Option[]).map((one, n) =>
    n === 0 ? { ...one, top: STAMP_HEIGHT + 8, height: "58%" } : { ...one, bottom: STAMP_HEIGHT + 26 },
  );
  return { grid };
}

function save(name: string, blob: Blob): void {
  const address = URL.createObjectURL(blob);
  const link = element("a", { href: address, download: name });
  link.click();
  setTimeout(() => {
    URL.revokeObjectURL(address);
  }, 60_000);
}

export async function download(picture: Picture, format: Format): Promise<void> {
  const name = `${picture.name}.${format}`;
  if (format === "svg") {
    const chart = echarts.init(null, null, { renderer: "svg", ssr: true, ...SIZE });
    chart.setOption(stamped(picture));
    save(name, new Blob([chart.renderToSVGString()], { type: "image/svg+xml" }));
    chart.dispose();
    return;
  }
  const holder = element("div");
  const chart = echarts.init(holder, null, { renderer: "canvas", devicePixelRatio: 2, ...SIZE });
  chart.setOption(stamped(picture));
  const blob = await new Promise<Blob | null>((done) => {
    chart.renderToCanvas({ pixelRatio: 2 }).toBlob(done, "image/png");
  });
  chart.dispose();
  if (blob) save(name, blob);
}
