// All that draws. It is loaded after the figures are there, because it is most of the page's code.

export { chartOption, HistoryChart } from "./chart";
export { mapOption, PlaceMap } from "./map";
export { download } from "./picture";
