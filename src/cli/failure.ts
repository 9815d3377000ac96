/**
 * How a command ends that did not do what it was asked: a line or two for the operator on standard error, without a
 * stack, and an exit code that scripts can tell apart.
 */

import type { Command } from 'commander';

/** It could not be done: refused, or nobody to ask. */
export const EXIT_FAILED = 1;
/** Wrong settings or arguments. */
export const EXIT_WRONG_ARGUMENTS = 2;
/** There is no such thing; for a question, the answer is no. */
export const EXIT_NO = 3;

/** Thrown by commands; told and turned into the exit code by `parseAndRun`. */
export class Failure extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number = EXIT_FAILED) {
    super(message);
    this.name = 'Failure';
    this.exitCode = exitCode;
  }
}

export async function parseAndRun(program: Command, argv: readonly string[]): Promise<void> {
  endOnWrongArguments(program);
  process.stdout.on('error', endOfOutput);
  try {
    await program.parseAsync([...argv]);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    console.error(`rosettamq: ${error.message}`);
    process.exitCode = error.exitCode;
  }
}

/** Whoever reads the output has had enough, as `head` has: that is no failure. */
function endOfOutput(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}

/** Commander has told what is wrong, or shown the help that was asked for. */
function endOnWrongArguments(command: Command): void {
  command.exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : EXIT_WRONG_ARGUMENTS));
  for (const each of command.commands) endOnWrongArguments(each);
}
