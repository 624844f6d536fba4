import type { SyntaxNode } from '@lezer/common';
import { parser } from '@prometheus-io/lezer-promql';

/** A series that an expression asks for. */
export interface Selector {
  metric: string;
  matchers: readonly { label: string; operator: string; value: string }[];
}

/** What an expression names. */
export interface Parsed {
  /** Where the grammar does not understand it; undefined when it does. */
  faultAt: number | undefined;
  selectors: readonly Selector[];
  /** Labels by which it groups or joins. */
  groupedBy: readonly string[];
  /** Whether its answer has only the labels by which it groups. */
  isAggregated: boolean;
}

/** What Grafana puts in place of its variables. */
const GRAFANA_SPAN = /\$__rate_interval/g;

const parsed = new Map<string, Parsed>();

/** Reads PromQL by the grammar of Prometheus' own editor; each expression once. */
export function parsePromql(expression: string): Parsed {
  let known = parsed.get(expression);
  if (!known) {
    known = parse(expression);
    parsed.set(expression, known);
  }
  return known;
}

function parse(expression: string): Parsed {
  const text = expression.replaceAll(GRAFANA_SPAN, '5m');
  const selectors: Selector[] = [];
  const groupedBy: string[] = [];
  let faultAt: number | undefined;
  let isAggregated = false;
  const read = (node: SyntaxNode) => text.slice(node.from, node.to);
  parser.parse(text).iterate({
    enter: ({ node, name }) => {
      if (node.type.isError) faultAt ??= node.from;
      if (name === 'AggregateExpr') isAggregated = true;
      if (name === 'VectorSelector') selectors.push(readSelector(node, read));
      if (name === 'GroupingLabels') groupedBy.push(...node.getChildren('LabelName').map(read));
    },
  });
  return { faultAt, selectors, groupedBy, isAggregated };
}

function readSelector(node: SyntaxNode, read: (node: SyntaxNode) => string): Selector {
  const name = node.getChild('Identifier');
  const matchers = node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher') ?? [];
  return {
    metric: name ? read(name) : '',
    matchers: matchers.map((matcher) => ({
      label: read(matcher.getChild('LabelName')!),
      operator: read(matcher.getChild('MatchOp')!),
      value: read(matcher.getChild('StringLiteral')!).slice(1, -1),
    })),
  };
}
