import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import dockerignore from '@balena/dockerignore';
import {
  type Copy,
  DockerfileParser,
  type From,
  type Healthcheck,
  type Instruction,
  type JSONInstruction,
  type PropertyInstruction,
} from 'dockerfile-ast';

/** What a Dockerfile made: a folder that stands for the root of the file system, and how to start what is in it. */
export interface Image {
  root: string;
  base: string;
  environment: Record<string, string>;
  /** Paths in the image. */
  workdir: string;
  /** `uid:gid`. */
  user: string;
  entrypoint: string[];
  healthcheck: string[];
  labels: Record<string, string>;
  ports: number[];
  stopSignal: string;
  remove(): void;
}

/** Two installations of what is in the store already take seconds; an empty store on a slow line, minutes. */
const RUN_TIMEOUT_MS = 240_000;
const INSTRUCTIONS_MAX = 100;
/** Where the base image has Node. */
const NODE_PATH = 'usr/local/bin/node';
/** A path from the root of the file system: in a step it would be this machine's, not the image's. */
const ABSOLUTE_PATH = /(^|[\s=:'"])\/\w/;

type Stage = Omit<Image, 'remove' | 'labels' | 'ports'> & { labels: Record<string, string>; ports: number[] };

/** The instructions of a Dockerfile, in order. */
export function readInstructions(text: string): Instruction[] {
  const instructions = DockerfileParser.parse(text).getInstructions();
  if (instructions.length > INSTRUCTIONS_MAX) throw new Error(`more than ${INSTRUCTIONS_MAX} instructions`);
  return instructions;
}

/** Says of a path, relative to the folder with the `.dockerignore`, whether it is part of what an image is built from. */
export function readContextFilter(folder: string): (path: string) => boolean {
  const matcher = dockerignore.default().add(readFileSync(join(folder, '.dockerignore'), 'utf8'));
  return (path) => path === '' || !matcher.ignores(path);
}

/**
 * Does what `docker build` does with the Dockerfile of a folder, in a folder of its own: copies the files that it
 * copies, runs the commands that it runs, and gathers what it says of the image. In place of the base image there is
 * this Node, which has to be of the version that the base image names; commands run on this machine, so they may name no
 * absolute paths. An instruction that is not known here fails.
 */
export function walkDockerfile(context: string): Image {
  const folder = mkdtempSync(join(tmpdir(), 'punctual-image-'));
  chmodSync(folder, 0o755);
  const remove = () => {
    // What is not writable can only be removed by root.
    if (process.geteuid?.() !== 0) execFileSync('chmod', ['-R', 'u+w', folder]);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const stages = new Map<string, Stage>();
    const globals: Record<string, string> = {};
    let stage: Stage | undefined;
    for (const instruction of readInstructions(readFileSync(join(context, 'Dockerfile'), 'utf8'))) {
      if (instruction.getKeyword() === 'FROM') {
        const from = instruction as From;
        stage = startStage(from, join(folder, `stage-${stages.size}`));
        stages.set(from.getBuildStage() ?? `stage-${stages.size}`, stage);
      } else if (stage === undefined) {
        throw new Error(`${instruction} before the first FROM, of which ${Object.keys(globals)} is nothing known`);
      } else {
        follow(instruction, stage, { context, stages });
      }
    }
    if (stage === undefined) throw new Error('no stage');
    // The root file system is read-only: to others than root by its modes, to us by taking away our own.
    if (process.geteuid?.() !== 0) execFileSync('chmod', ['-R', 'a-w', stage.root]);
    return { ...stage, remove };
  } catch (error) {
    remove();
    throw error;
  }
}

function startStage(from: From, root: string): Stage {
  const base = from.getImage() ?? '';
  const version = /^node:(\d+\.\d+\.\d+)-/.exec(base)?.[1];
  if (version !== process.versions.node) throw new Error(`${base} has another Node than ${process.versions.node}`);
  mkdirSync(join(root, 'usr/local/bin'), { recursive: true });
  copyFileSync(process.execPath, join(root, NODE_PATH));
  const environment = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };
  return {
    ...{ root, base, environment, workdir: '/', user: '0:0', entrypoint: [], healthcheck: [] },
    ...{ labels: {}, ports: [], stopSignal: 'SIGTERM' },
  };
}

function follow(
  instruction: Instruction,
  stage: Stage,
  { context, stages }: { context: string; stages: ReadonlyMap<string, Stage> },
): void {
  const words = instruction.getExpandedArguments().map((argument) => argument.getValue());
  switch (instruction.getKeyword()) {
    case 'ARG':
      break;
    case 'ENV':
    case 'LABEL': {
      const target = instruction.getKeyword() === 'ENV' ? stage.environment : stage.labels;
      for (const property of (instruction as PropertyInstruction).getProperties())
        target[property.getName()] = property.getValue() ?? '';
      break;
    }
    case 'WORKDIR':
      stage.workdir = words[0]!;
      mkdirSync(join(stage.root, stage.workdir), { recursive: true });
      break;
    case 'COPY':
      copy(instruction as Copy, stage, { context, stages });
      break;
    case 'RUN':
      run(instruction.getRawArgumentsContent() ?? '', stage);
      break;
    case 'USER':
      stage.user = words[0]!;
      break;
    case 'EXPOSE':
      stage.ports.push(...words.map(Number));
      break;
    case 'STOPSIGNAL':
      stage.stopSignal = words[0]!;
      break;
    case 'ENTRYPOINT':
      stage.entrypoint = readJson(instruction as JSONInstruction);
      break;
    case 'HEALTHCHECK':
      stage.healthcheck = readHealthcheck(instruction as Healthcheck);
      break;
    default:
      throw new Error(`${instruction.getKeyword()} is not known here`);
  }
}

/** The words of an instruction in JSON; those of one in words of a shell would start another process before ours. */
function readJson(instruction: JSONInstruction): string[] {
  if (instruction.getOpeningBracket() === null) throw new Error(`${instruction} goes through a shell`);
  return JSON.parse(instruction.getRawArgumentsContent() ?? '') as string[];
}

function readHealthcheck(instruction: Healthcheck): string[] {
  const raw = instruction.getRawArgumentsContent() ?? '';
  if (instruction.getSubcommand()?.getValue() !== 'CMD') throw new Error(`${instruction} has no command`);
  return JSON.parse(raw.slice(raw.indexOf('['))) as string[];
}

function copy(
  instruction: Copy,
  stage: Stage,
  { context, stages }: { context: string; stages: ReadonlyMap<string, Stage> },
): void {
  const paths = instruction.getArguments().map((argument) => argument.getValue());
  const target = paths.pop()!;
  const from = instruction.getFromFlag()?.getValue();
  for (const flag of instruction.getFlags())
    if (flag.getName() !== 'from') throw new Error(`COPY --${flag.getName()} is not known here`);
  const destination = target.startsWith('/') ? join(stage.root, target) : join(stage.root, stage.workdir, target);
  mkdirSync(destination, { recursive: true });
  if (from !== undefined && from !== null) {
    const other = stages.get(from);
    if (other === undefined) throw new Error(`there is no stage ${from} before ${instruction}`);
    // Links within a tree stay links, and files that the package manager shares with its store become our own.
    for (const path of paths) execFileSync('cp', ['-a', `${join(other.root, path)}/.`, destination]);
    return;
  }
  const isIncluded = readContextFilter(context);
  for (const path of paths) {
    const source = join(context, path);
    const filter = (each: string) => isIncluded(relative(context, each));
    const to = statSync(source).isDirectory() ? destination : join(destination, basename(source));
    cpSync(source, to, { recursive: true, filter, verbatimSymlinks: true });
  }
}

function run(command: string, stage: Stage): void {
  if (ABSOLUTE_PATH.test(command)) throw new Error(`RUN ${command} names a path of this machine`);
  const { PATH, ...settings } = stage.environment;
  execFileSync('/bin/sh', ['-c', command], {
    cwd: join(stage.root, stage.workdir),
    // The registry, the caches and the way to them are this machine's.
    env: { ...process.env, ...settings, PATH: `${mapPath(stage, PATH!)}:${process.env.PATH}` },
    timeout: RUN_TIMEOUT_MS,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** A PATH of the image, as one of this machine. */
export function mapPath({ root }: Pick<Image, 'root'>, path: string): string {
  return path
    .split(':')
    .map((each) => join(root, each))
    .join(':');
}
