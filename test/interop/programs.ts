/**
 * Runs real clients for the interop tests with the command lines that people type. A program that a test starts ends
 * with the test, and a wait that fails prints what the program said so far.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, onTestFinished } from 'vitest';
import { describeMissing, locatePeer, type Peer } from '../peers/programs.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const WAIT_MS = 30_000;

/** `describe`, or a skipped suite whose title says which program is missing. */
export function describeWith(peers: readonly Peer[], title: string, body: () => void): void {
  const missing = describeMissing(...peers);
  if (missing !== null) process.stdout.write(`SKIPPED: ${title}: ${missing}\n`);
  describe.skipIf(missing !== null)(missing === null ? title : `${title} (${missing})`, body);
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Polls until `check` gives something; the error names what was waited for. */
export async function waitFor<T>(
  what: string,
  check: () => T | undefined | null | false | Promise<T | undefined | null | false>,
  ms = WAIT_MS,
): Promise<T> {
  const deadline = Date.now() + ms;
  for (;;) {
    const found = await check();
    if (found !== undefined && found !== null && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms for ${what}`);
    await pause(25);
  }
}

/** A started command line. Its output is kept by lines. */
export class Program {
  readonly command: string;
  readonly lines: string[] = [];
  errors = '';
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  #tail = '';

  constructor(command: string, input: string | null) {
    this.command = command;
    this.#child = spawn('bash', ['-c', command], { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    this.#child.stdin!.on('error', () => {}); // it may end before it has read everything
    if (input !== null) this.#child.stdin!.end(input);
    this.#child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      const parts = (this.#tail + chunk).split('\n');
      this.#tail = parts.pop()!;
      this.lines.push(...parts);
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
      this.errors = (this.errors + chunk).slice(-20_000);
    });
    this.ended = new Promise((resolve) => {
      this.#child.once('close', (code) => {
        if (this.#tail !== '') this.lines.push(this.#tail);
        resolve(code);
      });
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  write(text: string): void {
    this.#child.stdin!.write(text);
  }

  /** The program and what it started are one process group. */
  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    try {
      process.kill(-this.pid, signal);
    } catch {
      // It has ended already.
    }
  }

  async stop(): Promise<void> {
    this.kill();
    const limit = setTimeout(() => this.kill('SIGKILL'), 5000);
    await this.ended;
    clearTimeout(limit);
  }

  async waitForLines(count: number, ms = WAIT_MS): Promise<string[]> {
    return this.#wait(`${count} lines`, () => this.lines.length >= count && this.lines.slice(), ms);
  }

  async waitForLine(wanted: string | RegExp, ms = WAIT_MS): Promise<string> {
    const isWanted = (line: string): boolean =>
      typeof wanted === 'string' ? line === wanted : wanted.test(line);
    return this.#wait(String(wanted), () => this.lines.find(isWanted), ms);
  }

  async waitForErrors(wanted: RegExp, ms = WAIT_MS): Promise<void> {
    await this.#wait(String(wanted), () => wanted.test(this.errors), ms);
  }

  async #wait<T>(what: string, check: () => T | undefined | false, ms: number): Promise<T> {
    try {
      return await waitFor(what, check, ms);
    } catch (error) {
      const said = `${this.lines.slice(-20).join('\n')}\n${this.errors.slice(-2000)}`;
      throw new Error(`${(error as Error).message} from \`${this.command}\`, which said:\n${said}`);
    }
  }
}

/** Starts a command line that goes on until the test ends. */
export function start(command: string): Program {
  const program = new Program(`exec ${command}`, null);
  onTestFinished(() => program.stop());
  return program;
}

/** Runs a command line to its end, which must be successful, and returns what it printed. */
export async function run(command: string, input = '', ms = WAIT_MS): Promise<string[]> {
  const program = new Program(command, input);
  const limit = setTimeout(() => program.kill('SIGKILL'), ms);
  const code = await program.ended;
  clearTimeout(limit);
  if (code !== 0) {
    const said = `${program.lines.slice(-20).join('\n')}\n${program.errors.slice(-2000)}`;
    throw new Error(`\`${command}\` ended with ${code ?? `no result within ${ms} ms`}:\n${said}`);
  }
  return program.lines;
}

/** For `mosquitto_pub` to end after its last line. */
const LINES_MS_MAX = 10_000;

/**
 * Publishes each line by one `mosquitto_pub`. It may never end though it has sent everything, to Mosquitto itself as well
 * (2.0.11: two threads tell each other of the last message without a lock). Then it is stopped: what arrives says whether
 * all of it was sent.
 */
export async function publishLines(options: string, lines: readonly (string | number)[]): Promise<void> {
  const program = new Program(`exec mosquitto_pub ${options} -l`, lines.join('\n'));
  const limit = setTimeout(() => program.kill('SIGKILL'), LINES_MS_MAX);
  const code = await program.ended;
  clearTimeout(limit);
  if (code !== 0 && code !== null)
    throw new Error(`\`${program.command}\` ended with ${code}:\n${program.errors}`);
}

/** The whole numbers from the first to the last, for `publishLines`. */
export const numbersFrom = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

/** The command line of a script in `python/`, run with the installed client libraries. */
export const python = (script: string, ...options: (string | number)[]): string =>
  [locatePeer('python'), '-u', join(HERE, 'python', script), ...options.map((option) => `'${option}'`)].join(
    ' ',
  );

/** A tool of Apache Kafka as its shell script would run it. */
export const kafkaTool = (name: string): string =>
  `${locatePeer('java')} -Xmx256m -cp '${locatePeer('kafka')}' org.apache.kafka.tools.${name}`;

/** Starts `mosquitto_sub` and waits until it says that it is subscribed: what is published before would be missed. */
export async function subscribe(port: number, options: string): Promise<Program> {
  const program = start(`stdbuf -oL mosquitto_sub -h 127.0.0.1 -p ${port} -d ${options}`);
  // With -d it reports the acknowledged subscription on its error or output stream, by version.
  await waitFor(
    `the subscription of \`${program.command}\``,
    () =>
      /Subscribed \(mid/.test(program.errors) ||
      program.lines.some((line) => line.startsWith('Subscribed (mid')),
  );
  return program;
}

/** The lines of `mosquitto_sub -d` that are messages and not its own report of the protocol. */
export const messagesOf = (program: Program): string[] =>
  program.lines.filter((line) => !/^(Client |Subscribed |Unsubscribed )/.test(line));
