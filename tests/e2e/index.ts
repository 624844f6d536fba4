export { ApiClient, forEachConcurrently, type Problem, type Run, send, type Timer } from './api-client.ts';
export { type Delivery, TARGETS, type Target } from './main-job/delivery.ts';
export { type Receivers, startReceivers } from './main-job/receivers.ts';
export { isRunning, listTree, type Program, signalTree } from './processes.ts';
export { type PullEvent, readPullEvents, startPullProgram } from './pull-workers/pull-program.ts';
