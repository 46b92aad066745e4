// What a dashboard of ours may hold: the types of @grafana/schema, with the panels and queries that we use in the
// place of its open records, and with what every panel has to say. `generate` makes dashboard.schema.json of it.
import type * as barChart from '@grafana/schema/dist/types/raw/composable/barchart/panelcfg/x/types.gen';
import type * as barGauge from '@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/types.gen';
import type * as raw from '@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type * as stat from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as table from '@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type * as timeSeries from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';

/** Each panel kind calls its types Options and FieldConfig: taken apart, they have no names that clash. */
type Nameless<T> = Omit<T, never>;

interface Postgres {
  type: 'grafana-postgresql-datasource';
  uid: 'apportion-postgres';
}

interface Prometheus {
  type: 'prometheus';
  uid: 'apportion-prometheus';
}

interface Sql {
  datasource: Postgres;
  editorMode: 'code';
  format: 'table' | 'time_series';
  rawQuery: true;
  rawSql: string;
  refId: string;
}

interface Promql {
  datasource: Prometheus;
  editorMode: 'code';
  expr: string;
  instant: boolean;
  legendFormat: string;
  range: boolean;
  refId: string;
}

interface Defaults<Custom> extends Omit<raw.FieldConfig, 'custom' | 'unit'> {
  custom: Custom;
  unit: string;
}

interface Fields<Custom> extends Omit<raw.FieldConfigSource, 'defaults'> {
  defaults: Defaults<Custom>;
}

type Told = 'type' | 'id' | 'title' | 'description' | 'gridPos' | 'options' | 'fieldConfig' | 'datasource' | 'targets';

interface Chart<Kind extends string, Options, Custom> extends Omit<raw.Panel, Told> {
  type: Kind;
  id: number;
  title: string;
  description: string;
  gridPos: raw.GridPos;
  options: Nameless<Options>;
  fieldConfig: Fields<Custom>;
  datasource: Postgres | Prometheus;
  /** @minItems 1 */
  targets: (Sql | Promql)[];
}

type None = Record<string, never>;

type Panel =
  | Chart<'barchart', barChart.Options, Nameless<barChart.FieldConfig>>
  | Chart<'bargauge', barGauge.Options, None>
  | Chart<'stat', stat.Options, None>
  | Chart<'table', table.Options, Partial<table.FieldConfig>>
  | Chart<'timeseries', timeSeries.Options, Nameless<timeSeries.FieldConfig>>;

interface Row extends Omit<raw.RowPanel, 'title' | 'gridPos' | 'panels' | 'collapsed'> {
  title: string;
  gridPos: raw.GridPos;
  panels: [];
  collapsed: false;
}

interface Variable extends Omit<raw.VariableModel, 'datasource' | 'label' | 'query' | 'type'> {
  datasource: Postgres | Prometheus;
  label: string;
  query: string;
  type: 'query';
}

type Named = 'uid' | 'title' | 'description' | 'time' | 'timezone' | 'panels' | 'templating' | 'annotations' | 'snapshot';

export interface ApportionDashboard extends Omit<raw.Dashboard, Named> {
  uid: string;
  title: string;
  description: string;
  time: { from: string; to: string };
  timezone: string;
  panels: (Panel | Row)[];
  templating: { list: Variable[] };
}
