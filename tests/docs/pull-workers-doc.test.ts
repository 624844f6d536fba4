import { testPage } from './test-page.ts';

testPage('docs/pull-workers.md');
