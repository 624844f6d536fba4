import { testPage } from './test-page.ts';

testPage('docs/pausing.md');
