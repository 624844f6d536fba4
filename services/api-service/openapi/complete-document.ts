import { LABEL_KEY_LENGTH_MAX, LABEL_VALUE_LENGTH_MAX } from '@punctual/contracts';
import { HAS_LABELS } from './describe-route.ts';

type Json = Record<string, unknown>;

interface Answer {
  description?: string;
  headers?: Record<string, Json>;
  $ref?: string;
}

interface Operation extends Json {
  parameters?: Json[];
  requestBody?: { required: boolean; content: Record<string, { schema: Json }> };
  responses: Record<string, Answer>;
}

/** Not on every answer of the status: only some conflicts pass, and a timer has no ETag. Other headers are always there. */
const SOMETIMES = new Set(['retry-after 409', 'etag 412']);

/** `label.<key>=<value>`, any number of them: the exploded form of an object gives each field a parameter of its own. */
const LABELS_PARAMETER = {
  name: 'labels',
  in: 'query',
  required: false,
  style: 'form',
  explode: true,
  description: 'Labels to filter by, each as `label.<key>=<value>`.',
  schema: {
    type: 'object',
    propertyNames: { pattern: `^label\\..{1,${LABEL_KEY_LENGTH_MAX}}$` },
    additionalProperties: { type: 'string', maxLength: LABEL_VALUE_LENGTH_MAX },
  },
};

/**
 * Says in the document what the schemas of the routes could not: which bodies may be absent, which headers are always
 * there, that labels are parameters; and names the schemas and refusals that occur in many places, so that each is written
 * once.
 */
export function completeDocument(document: Json): Json {
  const paths = document.paths as Record<string, Record<string, Operation>>;
  for (const operations of Object.values(paths)) for (const operation of Object.values(operations)) complete(operation);
  const components = document.components as { schemas: Record<string, Json>; responses?: Record<string, Answer> };
  nameSchemas(document, components.schemas);
  components.responses = nameRefusals(paths);
  return document;
}

/** Replaces refusals that several operations share by references, and gives what they refer to, by their codes. */
function nameRefusals(paths: Record<string, Record<string, Operation>>): Record<string, Answer> {
  const places = Object.values(paths)
    .flatMap((operations) => Object.values(operations))
    .flatMap(({ responses }) => Object.entries(responses).map(([status, answer]) => ({ responses, status, answer })))
    .filter(({ status }) => Number(status) >= 400);
  const named: Record<string, Answer> = {};
  for (const shared of Map.groupBy(places, ({ answer }) => JSON.stringify(answer)).values()) {
    const [{ status, answer }] = shared as [(typeof shared)[number]];
    const codes = [...(answer.description ?? '').matchAll(/`(\w+)`/g)].map(([, code]) => code);
    if (shared.length === 1 || codes.length === 0) continue;
    const name = `${status}.${codes.join('.')}`;
    named[name] = answer;
    for (const { responses } of shared) responses[status] = { $ref: `#/components/responses/${name}` };
  }
  return named;
}

function complete(operation: Operation): void {
  if (operation[HAS_LABELS]) {
    delete operation[HAS_LABELS];
    operation.parameters = [...(operation.parameters ?? []), LABELS_PARAMETER];
  }
  if (operation.requestBody) {
    const [body] = Object.values(operation.requestBody.content);
    // A body that may be `null` may as well not be there.
    const branches = body?.schema.anyOf as { type?: string }[] | undefined;
    if (branches?.some(({ type }) => type === 'null')) operation.requestBody.required = false;
  }
  for (const [status, { headers = {} }] of Object.entries(operation.responses)) {
    for (const [name, header] of Object.entries(headers)) header.required = !SOMETIMES.has(`${name} ${status}`);
  }
}

/** Replaces each schema that is one of `schemas` by a reference to it. */
function nameSchemas(document: Json, schemas: Record<string, Json>): void {
  const names = new Map(Object.entries(schemas).map(([name, schema]) => [JSON.stringify(schema), name]));
  const replaceWithin = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      const name = typeof inner === 'object' && inner !== null ? names.get(JSON.stringify(inner)) : undefined;
      if (name !== undefined) (value as Json)[key] = { $ref: refer(name) };
      else replaceWithin(inner);
    }
  };
  replaceWithin(document.paths);
  for (const schema of Object.values(schemas)) replaceWithin(schema);
  for (const schema of Object.values(schemas)) mapDiscriminator(schema, schemas);
}

/** Once the branches of a union are references, the document must say which value of `type` leads to which. */
function mapDiscriminator(schema: Json, schemas: Record<string, Json>): void {
  if (!schema.discriminator || !Array.isArray(schema.oneOf)) return;
  const branches = Object.entries(schemas).filter(([name]) =>
    (schema.oneOf as Json[]).some(({ $ref }) => $ref === refer(name)),
  );
  const mapping = branches.map(([name, { properties }]) => {
    const [value] = (properties as { type: { enum: string[] } }).type.enum;
    return [value, refer(name)];
  });
  schema.discriminator = { propertyName: 'type', mapping: Object.fromEntries(mapping) };
}

function refer(name: string): string {
  return `#/components/schemas/${name}`;
}
