import { testPage } from './test-page.ts';

testPage('docs/signals.md');
