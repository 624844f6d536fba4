import Type, { type Static } from 'typebox';

/** The body of a queue job: a chunk of hints. No customer data travels through the queue. */
export const ChunkMessage = Type.Object({
  ids: Type.Array(Type.String({ format: 'uuid' })),
  versions: Type.Array(Type.Integer({ minimum: 1 })),
});
export type ChunkMessage = Static<typeof ChunkMessage>;
