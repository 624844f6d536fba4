import { testPage } from './test-page.ts';

testPage('docs/priorities.md');
