import { ID_PATTERN } from '@punctual/contracts';
import type { Fault } from '@punctual/domain';
import { Ajv, type ErrorObject, type Options, type ValidateFunction } from 'ajv';
import type { DataValidateFunction } from 'ajv/dist/types/index.js';
import type { TSchema } from 'typebox';
import type { ApiServer } from '../api-server.ts';
import { escapePointer } from './json-body.ts';

// The first fault ends the validation: collecting all of them would let a hostile body cost seconds.
const OPTIONS = {
  allErrors: false,
  discriminator: true,
  removeAdditional: false,
  useDefaults: false,
  strict: true,
  allowUnionTypes: true,
  strictTypes: false,
  strictRequired: false,
} as const;

const bodyValidator = createValidator(OPTIONS);
// The parts of a URL are text; numbers in them are read as such.
const urlValidator = createValidator({ ...OPTIONS, coerceTypes: true });

/**
 * Formats name themselves in the OpenAPI document; patterns and the domain decide. But an id goes on in lower case,
 * wherever it came in: that is how Postgres spells it, by which it is found in what Postgres returns, and by which every
 * statement sorts what it locks. In two cases it would have two places in that order, and statements could deadlock.
 */
function createValidator(options: Options): Ajv {
  const validator = new Ajv(options);
  validator.removeKeyword('format');
  validator.addKeyword({
    keyword: 'format',
    type: 'string',
    schemaType: 'string',
    errors: false,
    compile: (format: string) => (format === 'uuid' ? lowerCaseInPlace : () => true),
  });
  return validator;
}

const lowerCaseInPlace: DataValidateFunction = (text: string, place) => {
  const holder: unknown = place?.parentData;
  if (typeof holder === 'object' && holder !== null) {
    (holder as Record<string | number, unknown>)[place!.parentDataProperty] = text.toLowerCase();
  }
  return true;
};

/** Validates requests by their TypeBox schemas; answers are rendered by the routes, their schemas only document. */
export function addValidation(app: ApiServer): void {
  app.setValidatorCompiler(({ schema, httpPart }) =>
    (httpPart === 'body' ? bodyValidator : urlValidator).compile(schema as object),
  );
  app.setSerializerCompiler(() => (data) => (typeof data === 'string' ? data : JSON.stringify(data)));
}

/**
 * A check of values that are not a whole body, such as the items of a batch. Returns the fault, if any; ids in the value
 * are put in lower case.
 */
export function compileCheck(schema: TSchema): (value: unknown) => Fault | undefined {
  const validate: ValidateFunction = bodyValidator.compile(schema);
  return (value) => (validate(value) ? undefined : describeFault(validate.errors![0]!));
}

/** Turns a finding of the validator into a fault. Its detail holds nothing of what was sent. */
export function describeFault(error: Pick<ErrorObject, 'keyword' | 'instancePath' | 'params' | 'message'>): Fault {
  const at = error.instancePath;
  const params = error.params as Record<string, unknown>;
  switch (error.keyword) {
    case 'required':
      return { pointer: `${at}/${params.missingProperty}`, detail: 'This field is required.' };
    case 'additionalProperties':
      return {
        pointer: `${at}/${escapePointer(String(params.additionalProperty))}`,
        detail: 'There is no such field.',
      };
    case 'enum':
      return { pointer: at, detail: `It must be one of ${(params.allowedValues as unknown[]).join(', ')}.` };
    case 'discriminator':
      return { pointer: `${at}/${params.tag}`, detail: 'It names no known type.' };
    case 'propertyNames':
      return {
        pointer: `${at}/${escapePointer(String(params.propertyName))}`,
        detail: 'The name is too long or empty.',
      };
    case 'pattern':
      return {
        pointer: at,
        detail: params.pattern === ID_PATTERN ? 'It must be a UUID.' : 'It does not have the right form.',
      };
    case 'minProperties':
      return { pointer: at, detail: 'It names nothing to do.' };
    default:
      return { pointer: at, detail: `It ${error.message ?? 'is not valid'}.` };
  }
}
