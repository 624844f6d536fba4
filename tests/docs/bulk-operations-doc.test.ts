import { testPage } from './test-page.ts';

testPage('docs/bulk-operations.md');
