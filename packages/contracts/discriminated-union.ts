import { type Static, type TObject, Type } from 'typebox';

/**
 * One of several objects, told apart by the constant in `type`. Unlike a plain union this names the branch, so the
 * validator reports the fault within it, and so do clients generated from the OpenAPI document.
 */
export function discriminatedUnion<Branches extends TObject[]>(
  branches: [...Branches],
  options: { description?: string } = {},
) {
  return Type.Unsafe<Static<Branches[number]>>({
    ...options,
    type: 'object',
    discriminator: { propertyName: 'type' },
    required: ['type'],
    oneOf: branches,
  });
}
