/** A value that an operation takes, in its query or its body. */
export interface Field {
  /** As the API names it. */
  name: string;
  /** `labels` and `json` are written as JSON, or as `key=value`; `texts` is a list, with commas. */
  kind: 'text' | 'integer' | 'number' | 'switch' | 'texts' | 'labels' | 'json';
  choices?: string[];
  isRequired?: true;
  isNullable?: true;
  text?: string;
}

/** What the command has to know of an operation of the API. Made from its OpenAPI document: operations.json. */
export interface Operation {
  /** `GET /v1/timers/{id}` */
  route: string;
  summary: string;
  params: string[];
  query: Field[];
  body: Field[];
  hasBody: boolean;
  /** It takes an `Idempotency-Key`: sent again, it is done once. */
  isKeyed: boolean;
  hasIfMatch: boolean;
  /** It answers pages: `{data, nextCursor}`. */
  isList: boolean;
}

type Schema = {
  $ref?: string;
  type?: string | string[];
  enum?: unknown[];
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  description?: string;
};
interface Document {
  paths: Record<
    string,
    Record<
      string,
      {
        summary?: string;
        parameters?: { name: string; in: string; required?: boolean; description?: string; schema: Schema }[];
        requestBody?: { content: Record<string, { schema: Schema }> };
        responses: Record<string, { content?: Record<string, { schema: Schema }> }>;
      }
    >
  >;
  components: { schemas: Record<string, Schema> };
}

/** The operations of an OpenAPI document (3.1), in its order. */
export function describeOperations(document: unknown): Operation[] {
  const { paths, components } = document as Document;
  const resolve = (schema: Schema | undefined): Schema =>
    schema?.$ref === undefined ? (schema ?? {}) : resolve(components.schemas[schema.$ref.split('/').at(-1)!]);
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): Operation => {
      const parameters = operation.parameters ?? [];
      const isHeader = (name: string) => parameters.some((other) => other.in === 'header' && other.name === name);
      const bodySchema = resolve(operation.requestBody?.content['application/json']?.schema);
      // A body that may be absent is one that may be null.
      const body = resolve(bodySchema.anyOf?.find(({ type }) => type !== 'null') ?? bodySchema);
      const success = Object.entries(operation.responses).find(([status]) => status.startsWith('2'))?.[1];
      const answer = resolve(success?.content?.['application/json']?.schema);
      return {
        route: `${method.toUpperCase()} ${path}`,
        summary: operation.summary ?? '',
        params: [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!),
        query: parameters
          .filter((parameter) => parameter.in === 'query')
          .map(({ name, required, description, schema }) =>
            describeField(name, { ...resolve(schema), ...(description !== undefined && { description }) }, required),
          ),
        body: Object.entries(body.properties ?? {}).map(([name, schema]) =>
          describeField(
            name,
            { ...resolve(schema), ...(schema.description !== undefined && { description: schema.description }) },
            body.required?.includes(name),
          ),
        ),
        hasBody: operation.requestBody !== undefined,
        isKeyed: isHeader('idempotency-key'),
        hasIfMatch: isHeader('if-match'),
        isList: answer.properties?.nextCursor !== undefined,
      };
    }),
  );
}

function describeField(name: string, schema: Schema, isRequired: boolean | undefined): Field {
  const types = [schema.type ?? schema.anyOf?.map(({ type }) => type ?? 'object') ?? []].flat(2);
  const choices = schema.enum?.filter((choice) => typeof choice === 'string');
  return {
    name,
    kind: name === 'labels' ? 'labels' : chooseKind(types, schema),
    ...(choices && { choices }),
    ...(isRequired && { isRequired }),
    ...(types.includes('null') && { isNullable: true }),
    ...(schema.description !== undefined && { text: schema.description }),
  };
}

function chooseKind(types: readonly string[], schema: Schema): Field['kind'] {
  if (schema.enum) return 'text';
  const known = types.filter((type) => type !== 'null');
  const is = (...only: string[]) => known.length > 0 && known.every((type) => only.includes(type));
  if (is('string')) return 'text';
  if (is('integer')) return 'integer';
  if (is('number', 'integer')) return 'number';
  if (is('boolean')) return 'switch';
  // `status` in a query: one, several with commas, or repeated; and lists of texts.
  const items = schema.items ?? schema.anyOf?.find(({ items }) => items)?.items;
  if (is('string', 'array') && items?.type === 'string') return 'texts';
  return 'json';
}
