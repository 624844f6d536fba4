import { testPage } from './test-page.ts';

testPage('docs/concurrency.md');
