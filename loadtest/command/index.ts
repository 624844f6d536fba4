export { openCommand, readWholeNumber, UsageError } from './command-line.ts';
export { describeOrigin, type Origin } from './origin.ts';
export { writeReport } from './write-report.ts';
