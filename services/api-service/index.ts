export { type ApiConfig, ApiConfigSchema, readApiConfig } from './config.ts';
export { type ApiOptions, type RunningApi, StartRefusedError, startApi } from './start.ts';
