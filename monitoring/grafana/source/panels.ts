// Panels that several dashboards have.
import type { PanelText, Query } from './build-dashboard.ts';

export const RATE = '[$__rate_interval]';

/** Quantiles of a histogram of seconds. `by`: a label that splits it. */
export function quantiles(title: string, metric: string, tells: string, by?: string): PanelText {
  const labels = by ? `le, ${by}` : 'le';
  const ask = (quantile: number): Query => [
    `histogram_quantile(${quantile}, sum by (${labels}) (rate(${metric}_bucket${RATE})))`,
    `p${quantile * 100}${by ? ` {{${by}}}` : ''}`,
  ];
  return { title, tells, unit: 's', queries: by ? [ask(0.95)] : [ask(0.5), ask(0.95), ask(0.99)] };
}

/** How much of a counter a second, in all or split by a label. */
export function perSecond(title: string, metric: string, tells: string, by?: string): PanelText {
  const sum = by ? `sum by (${by})` : 'sum';
  return { title, tells, unit: 'ops', queries: [[`${sum} (rate(${metric}${RATE}))`, by ? `{{${by}}}` : title]] };
}

export function average(title: string, metric: string, tells: string): PanelText {
  const queries: Query[] = [[`sum(rate(${metric}_sum${RATE})) / sum(rate(${metric}_count${RATE}))`, 'average']];
  return { title, tells, queries };
}

export function eachProcess(title: string, expr: string, tells: string, unit?: PanelText['unit']): PanelText {
  return { title, tells, ...(unit && { unit }), queries: [[expr, '{{service}} {{instance}}']] };
}

export const stat = (title: string, expr: string, tells: string, unit?: PanelText['unit']): PanelText => ({
  title,
  tells,
  ...(unit && { unit }),
  queries: [[expr, '']],
  isStat: true,
});

export const processes = (service: string): { title: string; panels: PanelText[] } => {
  const of = `{service=~"${service}|standalone"}`;
  return {
    title: 'Processes',
    panels: [
      eachProcess(
        'CPU',
        `rate(process_cpu_seconds_total${of}${RATE})`,
        'Cores in use. A process has one for its JavaScript.',
        'percentunit',
      ),
      eachProcess('Memory', `process_resident_memory_bytes${of}`, 'Growth without end is a defect.', 'bytes'),
      eachProcess(
        'Event loop',
        `nodejs_eventloop_lag_p99_seconds${of}`,
        'How long other work keeps it. Above 0.05 s timers are late by as much.',
        's',
      ),
    ],
  };
};
