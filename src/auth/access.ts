/**
 * Opens what decides who may do what: the rules of the configuration file, of a file in Mosquitto's syntax and of the
 * data folder, put together. Called once by `src/gateway.ts`. The file is looked at every second; where it cannot be
 * read or holds a mistake the rules that were read before go on, and the log says so.
 */

import { readFile, stat } from 'node:fs/promises';
import type { Access, Clock, Timer } from '../core/index.ts';
import type { Storage } from '../core/storage.ts';
import type { Logger } from '../host.ts';
import { Acl } from './acl.ts';
import { rulesFromAclFile } from './acl-file.ts';
import { type AclRule, ruleFromDefinition } from './acl-rule.ts';
import { type AccessRule, type AccessRules, RuntimeRules } from './acl-rules.ts';
import type { AclSettings } from './acl-settings.ts';

const TABLE = 'access-rules';
const LOOK_EVERY_MS = 1_000;

export interface OpenAccess {
  readonly access: Access;
  readonly rules: AccessRules;
  /** Reads the file again now. Throws Error with what is wrong in it; the earlier rules stay then. */
  reload(): Promise<void>;
  /** Stops looking at the file. */
  close(): void;
}

/** Throws Error that tells the operator which rule is wrong, and where it stands. */
export async function openAccess(
  settings: AclSettings,
  storage: Pick<Storage, 'openTable' | 'commit'>,
  clock: Clock,
  logger: Logger,
): Promise<OpenAccess> {
  const acl = new Acl(settings.default, settings.answersPerClientMax);
  const whenStored = (): Promise<void> =>
    new Promise((resolve, reject) => storage.commit((error) => (error === null ? resolve() : reject(error))));
  const rules = await RuntimeRules.load(acl, await storage.openTable(TABLE), whenStored, settings.rulesMax);
  const configured = settings.rules.map((definition, index) => configuredRule(definition, index));
  rules.setFixed(
    'configuration',
    configured.map(({ shown }) => shown),
    configured.map(({ rule }) => rule),
  );
  if (settings.file === '') return { access: acl, rules, reload: async () => {}, close: () => {} };
  const file = new AclFile(settings.file, settings.rulesMax, rules, clock, logger);
  await file.open();
  return { access: acl, rules, reload: () => file.reload(), close: () => file.close() };
}

function configuredRule(
  definition: AclSettings['rules'][number],
  index: number,
): { readonly shown: AccessRule; readonly rule: AclRule } {
  const name = `auth.acl.rules[${index}]`;
  try {
    const shown = { name, source: 'configuration', definition } as AccessRule;
    return { shown, rule: ruleFromDefinition(definition) };
  } catch (error) {
    throw new Error(`${name}: ${(error as Error).message}`);
  }
}

class AclFile {
  readonly #path: string;
  readonly #rulesMax: number;
  readonly #rules: RuntimeRules;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #mark = '';
  #timer: Timer | null = null;
  #closed = false;
  /** One reading after the other, or an earlier state of the file could come last. */
  #reading: Promise<unknown> = Promise.resolve();

  constructor(path: string, rulesMax: number, rules: RuntimeRules, clock: Clock, logger: Logger) {
    this.#path = path;
    this.#rulesMax = rulesMax;
    this.#rules = rules;
    this.#clock = clock;
    this.#logger = logger;
  }

  async open(): Promise<void> {
    await this.reload();
    this.#lookLater();
  }

  reload(): Promise<void> {
    return this.#inTurn(async () => {
      try {
        this.#mark = await markOf(this.#path);
        await this.#read();
      } catch (error) {
        throw new Error(`auth.acl.file: ${(error as Error).message}`);
      }
    });
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #lookLater(): void {
    if (this.#closed) return;
    this.#timer = this.#clock.after(LOOK_EVERY_MS, () => {
      void this.#inTurn(() => this.#look());
    });
  }

  #inTurn(task: () => Promise<void>): Promise<void> {
    const done = this.#reading.then(task);
    this.#reading = done.catch(() => {});
    return done;
  }

  async #look(): Promise<void> {
    const before = this.#mark;
    try {
      // What cannot be read is told once, not every second.
      this.#mark = await markOf(this.#path).catch(
        (error: NodeJS.ErrnoException) => error.code ?? 'unreadable',
      );
      if (this.#mark !== before) {
        const count = await this.#read();
        this.#logger.info({ file: this.#path, rules: count }, 'access rules were read again');
      }
    } catch (error) {
      this.#logger.error(
        { file: this.#path, error: (error as Error).message },
        'access rules could not be read, the earlier ones stay',
      );
    }
    this.#lookLater();
  }

  async #read(): Promise<number> {
    const path = this.#path;
    const read = rulesFromAclFile(await readFile(path, 'utf8'), path, this.#rulesMax);
    if (this.#closed) return read.length;
    this.#rules.setFixed(
      'file',
      read.map(({ line, text }) => ({ name: `${path}:${line}`, source: 'file', definition: text })),
      read.map(({ rule }) => rule),
    );
    return read.length;
  }
}

/** With the time of the last change of the file's state, so that a file that may be read now is read. */
async function markOf(path: string): Promise<string> {
  const { mtimeMs, ctimeMs, size, ino } = await stat(path);
  return `${mtimeMs} ${ctimeMs} ${size} ${ino}`;
}
