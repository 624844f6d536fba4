import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** How faults are injected into the clients of Postgres and the queue; told by the environment of a test run. */
export interface FaultSettings {
  /** The share of calls that fail, from 0 to 1. */
  rate: number;
  /** The same seed leads to the same decisions, as far as the calls come in the same order. */
  seed: number;
  /** Where each process writes down what it did. */
  folder: string;
}

/** More would test the tests' patience and nothing else. */
export const FAULT_RATE_MAX = 0.2;

const RATE = 'TEST_FAULTS_RATE';
const SEED = 'TEST_FAULTS_SEED';
const FOLDER = 'TEST_FAULTS_FOLDER';
/** Of which test file a process is, for the name of what it writes down. */
export const FAULTS_FILE = 'TEST_FAULTS_FILE';

/** Undefined: no faults are injected in this test run. */
export function readFaultSettings(environment: NodeJS.ProcessEnv = process.env): FaultSettings | undefined {
  const { [RATE]: rate, [SEED]: seed, [FOLDER]: folder } = environment;
  if (!rate || !seed || !folder) return undefined;
  return { rate: Number(rate), seed: Number(seed), folder };
}

/** The settings as variables of the environment. */
export function describeFaultSettings({ rate, seed, folder }: FaultSettings): Record<string, string> {
  return { [RATE]: String(rate), [SEED]: String(seed), [FOLDER]: folder };
}

/** What a process of ours must find in its environment to have faults injected; nothing in an ordinary test run. */
export function listFaultEnvironment(): Record<string, string> {
  const settings = readFaultSettings();
  if (!settings) return {};
  const preload = pathToFileURL(join(import.meta.dirname, 'preload.ts')).href;
  return { ...describeFaultSettings(settings), NODE_OPTIONS: `--import=${preload}` };
}

/** Whether faults are injected in this test run: then waits are long, and clients send again what failed. */
export const areFaultsInjected = readFaultSettings() !== undefined;
