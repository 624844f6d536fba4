import { createInvalidRequest } from '../plugins/problems.ts';

/** The entity tag of a version (RFC 9110 §8.8.3). */
export function formatETag(version: number): string {
  return `"${version}"`;
}

const ENTITY_TAG = /^(?:W\/)?"[\x21\x23-\x7e]*"$/;
/** Entity tags that one `If-Match` may name. A client has seen one. */
const ENTITY_TAGS_MAX = 16;

/**
 * Which versions an `If-Match` header allows to change. Absent: all. Weak tags never match (RFC 9110 §13.1.1). Throws a 400
 * when it is not such a header.
 */
export function parseIfMatch(ifMatch: string | undefined): (version: number) => boolean {
  if (ifMatch === undefined || ifMatch.trim() === '*') return () => true;
  const tags = ifMatch.split(',', ENTITY_TAGS_MAX + 1).map((tag) => tag.trim());
  if (tags.length > ENTITY_TAGS_MAX || !tags.every((tag) => ENTITY_TAG.test(tag))) {
    throw createInvalidRequest([
      {
        pointer: '/headers/if-match',
        detail: 'It must be the ETag of the version that is to be changed, such as "3".',
      },
    ]);
  }
  return (version) => tags.includes(formatETag(version));
}
