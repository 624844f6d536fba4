export { type ApiConfig, ApiConfigSchema, readApiConfig } from './config.ts';
export { type ApiOptions, type RunningApi, startApi } from './start.ts';
