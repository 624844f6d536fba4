import Type, { type Static } from 'typebox';

/** The body of a queue job: a chunk of hints. No customer data travels through the queue. */
export const ChunkMessage = Type.Object({
  ids: Type.Array(Type.String({ format: 'uuid' })),
  versions: Type.Array(Type.Integer({ minimum: 1 })),
  /** When each is due by the database's clock (epoch ms); absent: all are. */
  wakeAts: Type.Optional(Type.Array(Type.Integer({ minimum: 0 }))),
});
export type ChunkMessage = Static<typeof ChunkMessage>;
