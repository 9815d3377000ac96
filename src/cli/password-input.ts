/** Passwords from people (asked twice, not shown) or from standard input. Never from an argument. */

import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { EXIT_WRONG_ARGUMENTS, Failure } from './failure.ts';

const BYTES_MAX = 65_535;

export async function readPassword(fromStandardInput: boolean): Promise<string> {
  if (fromStandardInput) return readFirstLine();
  if (!process.stdin.isTTY) {
    throw new Failure(
      'there is no terminal to ask for the password: use --password-stdin',
      EXIT_WRONG_ARGUMENTS,
    );
  }
  const password = await ask('Password: ');
  if (password === '') throw new Failure('the password is empty', EXIT_WRONG_ARGUMENTS);
  if ((await ask('Again: ')) !== password)
    throw new Failure('the two are not the same', EXIT_WRONG_ARGUMENTS);
  return password;
}

/** Up to the first line end, which is not part of it. */
async function readFirstLine(): Promise<string> {
  const text = await readStandardInput(BYTES_MAX);
  const [line = ''] = text.toString().split(/\r?\n/, 1);
  if (line === '') throw new Failure('standard input holds no password', EXIT_WRONG_ARGUMENTS);
  return line;
}

export async function readStandardInput(bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new Failure(`standard input holds more than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function ask(question: string): Promise<string> {
  process.stderr.write(question);
  // What is typed goes nowhere.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  lines.on('SIGINT', () => process.exit(130));
  try {
    return await lines.question('');
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}
