import {
  DashboardBuilder,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TimeseriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';

/** A question to Prometheus, and the name of each series of its answer. */
export type Query = readonly [expr: string, legend: string];

export interface PanelText {
  title: string;
  /** What it tells, and which value is out of line. */
  tells: string;
  /** As Grafana calls it; plain numbers when absent. */
  unit?: 's' | 'bytes' | 'ops' | 'percentunit';
  queries: readonly Query[];
  /** One number, the present one, in place of a curve. */
  isStat?: true;
}

export interface DashboardText {
  uid: string;
  title: string;
  tells: string;
  /** Chosen above the dashboard: its name, and the metric and label whose values there are. */
  variable?: { name: string; metric: string; label: string };
  rows: readonly { title: string; panels: readonly PanelText[] }[];
}

/** Of the data source that `provisioning/` makes. */
export const DATA_SOURCE = { type: 'prometheus', uid: 'punctual-prometheus' };
/** Grafana's grid is so wide; a curve is a third of it, a number an eighth. */
const GRID_WIDTH = 24;
const CURVE = { w: 8, h: 8 };
const STAT = { w: 3, h: 4 };

/** The JSON of a dashboard, as Grafana provisions it. */
export function renderDashboard(text: DashboardText): string {
  const builder = new DashboardBuilder(text.title)
    .uid(text.uid)
    .description(text.tells)
    .tags(['punctual'])
    .timezone('utc')
    .refresh('30s')
    .time({ from: 'now-3h', to: 'now' })
    .readonly();
  if (text.variable) {
    const { name, metric, label } = text.variable;
    builder.withVariable(
      new QueryVariableBuilder(name)
        .datasource(DATA_SOURCE)
        .query(`label_values(${metric}, ${label})`)
        .refresh(VariableRefresh.OnTimeRangeChanged)
        .multi(true)
        .includeAll(true)
        .allValue('.*'),
    );
  }
  let y = 0;
  let id = 0;
  for (const row of text.rows) {
    id += 1;
    builder.withRow(new RowBuilder(row.title).id(id).gridPos({ x: 0, y, w: GRID_WIDTH, h: 1 }));
    y += 1;
    let x = 0;
    let height = 0;
    for (const panel of row.panels) {
      const size = panel.isStat ? STAT : CURVE;
      if (x + size.w > GRID_WIDTH) {
        x = 0;
        y += height;
        height = 0;
      }
      id += 1;
      builder.withPanel(
        buildPanel(panel)
          .id(id)
          .gridPos({ x, y, ...size }),
      );
      x += size.w;
      height = Math.max(height, size.h);
    }
    y += height;
  }
  return `${JSON.stringify(builder.build(), undefined, 2)}\n`;
}

function buildPanel({ title, tells, unit, queries, isStat }: PanelText): TimeseriesBuilder | StatBuilder {
  const panel = isStat ? new StatBuilder() : new TimeseriesBuilder().spanNulls(false).min(0).fillOpacity(5);
  panel.title(title).description(tells).datasource(DATA_SOURCE);
  if (unit) panel.unit(unit);
  for (const [index, [expr, legend]] of queries.entries()) {
    const query = new DataqueryBuilder()
      .expr(expr)
      .legendFormat(legend)
      .refId(String.fromCharCode(65 + index));
    panel.withTarget(isStat ? query.instant() : query.range());
  }
  return panel;
}
