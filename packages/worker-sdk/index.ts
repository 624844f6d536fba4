export { type AnswerProblem, RequestError } from './client.ts';
export { FinalError, type Handler, type Task } from './task.ts';
export { OutputError } from './task-ends.ts';
export { PullWorker, type PullWorkerOptions, type QueueOptions } from './worker.ts';
