import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';

/** What the checker looks at of an OpenAPI document (3.1). */
export interface ApiDocument {
  paths: Record<string, Record<string, ApiOperation>>;
  components: { schemas: Record<string, JsonSchema>; responses?: Record<string, ApiResponse> };
}

export type JsonSchema = Record<string, unknown>;

export interface ApiOperation {
  parameters?: { name: string; in: string; required?: boolean; schema: JsonSchema; style?: string }[];
  requestBody?: { required: boolean; content: Record<string, { schema: JsonSchema }> };
  /** The scope that a key needs, in the only requirement; none: everybody may. */
  security: Record<string, string[]>[];
  responses: Record<string, ApiResponse>;
}

export interface ApiResponse {
  /** In place of all else: where it is described. */
  $ref?: string;
  content?: Record<string, { schema: JsonSchema }>;
  headers?: Record<string, { required?: boolean }>;
}

/** An answer as it came, and to what. */
export interface CheckedAnswer {
  method: string;
  /** With its query, if any. */
  path: string;
  status: number;
  headers: Readonly<Record<string, string | string[] | number | undefined>>;
  body: string;
}

export interface AnswerChecker {
  /** What the document does not say of this answer, in plain words; empty when it is as described. */
  findFaults(answer: CheckedAnswer): string[];
  /** Statuses seen so far, as `GET /v1/timers/{id} 404`. */
  readonly seen: ReadonlySet<string>;
}

const DOCUMENT_ID = 'openapi.json';
const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/i;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** What a path that no operation has may be answered. */
const STATUSES_WITHOUT_OPERATION = [400, 404, 405, 414];

/**
 * Holds answers against the OpenAPI document that the api serves: their status, the headers that are always there, the
 * content type and the whole body, in which nothing may stand that the document does not name.
 */
export function createAnswerChecker(document: ApiDocument): AnswerChecker {
  // Unknown keywords are OpenAPI's own.
  const ajv = new Ajv2020({ strict: false, allErrors: false });
  ajv.addFormat('date-time', RFC_3339).addFormat('uuid', UUID);
  ajv.addSchema({ $id: DOCUMENT_ID, components: closeComponents(document) });
  const validators = new Map<string, ValidateFunction>();
  const compile = (name: string, schema: JsonSchema) => {
    let validate = validators.get(name);
    if (!validate) {
      validate = ajv.compile(close(schema, false));
      validators.set(name, validate);
    }
    return validate;
  };
  const find = createOperationFinder(document);
  const seen = new Set<string>();

  const findFaults = (answer: CheckedAnswer): string[] => {
    const found = find(answer.method, answer.path);
    if (!found) return findFaultsWithoutOperation(answer, compile);
    const name = `${answer.method} ${found.template} ${answer.status}`;
    seen.add(name);
    const response = found.operation.responses[String(answer.status)];
    const described = response?.$ref ? document.components.responses![response.$ref.split('/').at(-1)!] : response;
    if (!described) return [`the document lacks this status: ${answer.body.slice(0, 300)}`];
    const faults = Object.entries(described.headers ?? {})
      .filter(([header, { required }]) => required && answer.headers[header] === undefined)
      .map(([header]) => `the header ${header} is missing`);
    const { content } = described;
    if (!content) return answer.body === '' ? faults : [...faults, 'there is a body and the document has none'];
    const type = readMediaType(answer);
    const schema = content[type]?.schema;
    if (!schema) return [...faults, `its content type is ${type}, not ${Object.keys(content).join(' or ')}`];
    return [...faults, ...findBodyFaults(answer, type, compile(`${name} ${type}`, schema))];
  };
  return { findFaults, seen };
}

/** Finds the operation that a request is for. A path that is named literally goes before one with a parameter. */
export function createOperationFinder(document: ApiDocument) {
  const templates = Object.keys(document.paths)
    .map((template) => ({
      template,
      pattern: new RegExp(`^${template.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}/?$`),
    }))
    .sort((one, other) => Number(one.template.includes('{')) - Number(other.template.includes('{')));
  return (method: string, path: string): { template: string; operation: ApiOperation } | undefined => {
    const bare = decode(path.split(/[?#]/, 1)[0]!);
    const template = templates.find(({ pattern }) => pattern.test(bare))?.template ?? '';
    const operation = document.paths[template]?.[method.toLowerCase()];
    return operation && { template, operation };
  };
}

/** As the router reads a path: `/v1/%74imers` is one of its routes. */
function decode(path: string): string {
  try {
    return decodeURI(path);
  } catch {
    return path;
  }
}

function findFaultsWithoutOperation(
  answer: CheckedAnswer,
  compile: (name: string, schema: JsonSchema) => ValidateFunction,
): string[] {
  if (!STATUSES_WITHOUT_OPERATION.includes(answer.status)) return ['there is no such operation in the document'];
  if (answer.status === 405 && answer.headers.allow === undefined) return ['the header allow is missing'];
  // Nothing but the head of an answer comes to a HEAD.
  if (answer.method === 'HEAD') return [];
  const type = readMediaType(answer);
  if (type !== 'application/problem+json') return [`its content type is ${type}, not a problem's`];
  return findBodyFaults(answer, type, compile('problem', { $ref: '#/components/schemas/Problem' }));
}

function readMediaType({ headers }: CheckedAnswer): string {
  return String(headers['content-type'] ?? 'none')
    .split(';', 1)[0]!
    .trim();
}

function findBodyFaults({ body }: CheckedAnswer, type: string, validate: ValidateFunction): string[] {
  let value: unknown = body;
  if (type.endsWith('json')) {
    try {
      value = JSON.parse(body);
    } catch {
      return ['its body is not JSON'];
    }
  }
  if (validate(value)) return [];
  const [error] = validate.errors!;
  return [`its body${error!.instancePath} ${error!.message} ${JSON.stringify(error!.params)}: ${body.slice(0, 300)}`];
}

function closeComponents({ components }: ApiDocument): { schemas: Record<string, JsonSchema> } {
  // Closed where they are used: one that is part of another must let that one's fields pass.
  const schemas = Object.entries(components.schemas).map(([name, schema]) => [name, close(schema, true)]);
  return { schemas: Object.fromEntries(schemas) };
}

/** Lets no object have fields that its schema does not name, unless it says so. `isPart`: of a schema that is closed. */
function close(schema: JsonSchema, isPart: boolean): JsonSchema {
  const closed: JsonSchema = {};
  for (const [key, value] of Object.entries(schema)) {
    if (key === '$ref') closed[key] = String(value).replace(/^#/, `${DOCUMENT_ID}#`);
    else if (key === 'properties')
      closed[key] = mapValues(value as Record<string, JsonSchema>, (each) => close(each, false));
    else if (key === 'items' || (key === 'additionalProperties' && typeof value === 'object')) {
      closed[key] = close(value as JsonSchema, false);
    } else if (key === 'allOf' || key === 'anyOf' || key === 'oneOf') {
      closed[key] = (value as JsonSchema[]).map((each) => close(each, true));
    } else closed[key] = value;
  }
  const namesFields = ['properties', '$ref', 'allOf', 'anyOf', 'oneOf'].some((key) => key in schema);
  const isOpen = 'additionalProperties' in schema || 'patternProperties' in schema;
  return isPart || !namesFields || isOpen ? closed : { ...closed, unevaluatedProperties: false };
}

function mapValues<Value, Result>(
  record: Record<string, Value>,
  map: (value: Value) => Result,
): Record<string, Result> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
