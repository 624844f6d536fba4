import addTab from '@bomb.sh/tab/commander';
import type { Command } from 'commander';

/** `punctual completion bash|zsh|fish|powershell`, and `punctual complete`, which these scripts ask. All other commands are there already. */
export function addCompletion(program: Command): void {
  addTab(program, { completionCommandName: 'completion' });
}
