// What a dashboard of this project may contain, in Grafana's own types: those of its panels, of their
// options and of their queries to Prometheus, for which the package has no types. A dashboard follows
// after the last line (tools/check-dashboards.cjs).
import type * as grafana from "@grafana/schema";
import type * as geomap from "@grafana/schema/dist/esm/raw/composable/geomap/panelcfg/x/GeomapPanelCfg_types.gen";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as timeline from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

interface Query extends grafana.DataQuery {
  expr: string;
  format?: "time_series" | "table" | "heatmap";
  instant?: boolean;
  interval?: string;
  legendFormat?: string;
  range?: boolean;
}

interface Kinds {
  geomap: [geomap.Options, Record<string, never>];
  stat: [stat.Options, Record<string, never>];
  "state-timeline": [timeline.Options, timeline.FieldConfig];
  table: [table.Options, table.FieldConfig];
  timeseries: [timeseries.Options, timeseries.FieldConfig];
}

interface Filled<Kind extends keyof Kinds> extends Omit<grafana.Panel, "fieldConfig" | "options" | "targets" | "type"> {
  type: Kind;
  options: Kinds[Kind][0];
  fieldConfig: Omit<grafana.FieldConfigSource, "defaults"> & {
    defaults: Omit<grafana.FieldConfigSource["defaults"], "custom"> & { custom?: Partial<Kinds[Kind][1]> };
  };
  targets: Query[];
}

type AnyPanel = { [Kind in keyof Kinds]: Filled<Kind> }[keyof Kinds];

interface Row extends Omit<grafana.RowPanel, "panels"> {
  panels: AnyPanel[];
}

interface Marks extends Omit<grafana.AnnotationQuery, "target"> {
  target: Query;
  tagKeys?: string;
  titleFormat?: string;
}

interface Shape extends Omit<grafana.Dashboard, "annotations" | "panels"> {
  annotations?: { list: Marks[] };
  panels: (AnyPanel | Row)[];
}

// JSON has the values of an enumeration, not its names.
type Json<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T : { [Key in keyof T]: Json<T[Key]> };

export const dashboard: Json<Shape> =
