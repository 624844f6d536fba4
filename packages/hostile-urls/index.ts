export { HOSTILE_ADDRESSES } from './addresses.ts';
export { type HostileUrl, listHostileUrls } from './hostile-urls.ts';
export { ODD_PUBLIC_URLS } from './odd-urls.ts';
export { HOSTILE_SPELLINGS } from './spellings.ts';
