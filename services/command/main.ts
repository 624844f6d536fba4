#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { runCommand } from './program.ts';

// Whoever reads the beginning only, as `head` does, has had enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});
process.exitCode = await runCommand(process.argv.slice(2), {
  environment: process.env,
  stdin: process.stdin,
  readInput: () => readFileSync(0, 'utf8'),
  stdout: process.stdout,
  stderr: process.stderr,
  isInteractive: process.stdin.isTTY === true && process.stderr.isTTY === true,
});
