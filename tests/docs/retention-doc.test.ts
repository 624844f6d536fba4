import { testPage } from './test-page.ts';

testPage('docs/retention.md');
