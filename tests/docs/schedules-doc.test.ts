import { testPage } from './test-page.ts';

testPage('docs/schedules.md');
