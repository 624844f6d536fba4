export { findSettingFaults, listSettings, StandaloneSettings } from './config.ts';
export { type RunningStandalone, type StandaloneOptions, startStandalone } from './standalone.ts';
