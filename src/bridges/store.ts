/**
 * The table `bridges` on the disk: what was put over the API, and what of a bridge has to outlive the process.
 *
 * | row                | value (JSON)                                                         |
 * |--------------------|----------------------------------------------------------------------|
 * | `connection/` name | definition, with secrets as they were put                            |
 * | `bridge/` name     | definition                                                           |
 * | `state/` name      | `{offsetBase, earlier, paused}`: of its buffer (`offsets.ts`); whether it was paused where the configuration says otherwise |
 */

import { Buffer } from 'node:buffer';
import { CoreError } from '../core/index.ts';
import type { Storage, Table } from '../core/storage.ts';
import type { OffsetState } from './offsets.ts';

export interface BridgeState extends OffsetState {
  readonly paused: boolean | null;
}

export class BridgeStore {
  readonly #storage: Storage;
  readonly #table: Table;

  private constructor(storage: Storage, table: Table) {
    this.#storage = storage;
    this.#table = table;
  }

  static async open(storage: Storage): Promise<BridgeStore> {
    return new BridgeStore(storage, await storage.openTable('bridges'));
  }

  connections(): Promise<Map<string, unknown>> {
    return this.#all('connection/');
  }

  bridges(): Promise<Map<string, unknown>> {
    return this.#all('bridge/');
  }

  async states(): Promise<Map<string, BridgeState>> {
    return (await this.#all('state/')) as Map<string, BridgeState>;
  }

  putState(name: string, state: BridgeState): void {
    this.#table.put(`state/${name}`, encoded(state));
  }

  removeState(name: string): void {
    this.#table.remove(`state/${name}`);
  }

  /** `before`: what stands there now, put back where the disk refuses; undefined: nothing. Rejects with a CoreError. */
  async put(
    kind: 'connection' | 'bridge',
    name: string,
    definition: unknown,
    before: unknown,
  ): Promise<void> {
    const key = `${kind}/${name}`;
    this.#table.put(key, encoded(definition));
    try {
      await this.stored();
    } catch (error) {
      if (before === undefined) this.#table.remove(key);
      else this.#table.put(key, encoded(before));
      throw error;
    }
  }

  remove(kind: 'connection' | 'bridge', name: string): Promise<void> {
    this.#table.remove(`${kind}/${name}`);
    return this.stored();
  }

  /** Resolves when all that was written is on the disk. */
  stored(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#storage.commit((error) => {
        if (error === null) resolve();
        else reject(new CoreError('storage-failed', `the disk refused: ${error.message}`, { cause: error }));
      });
    });
  }

  async #all(prefix: string): Promise<Map<string, unknown>> {
    const found = new Map<string, unknown>();
    for await (const [key, bytes] of this.#table.scan(prefix))
      found.set(key.slice(prefix.length), JSON.parse(Buffer.from(bytes).toString('utf8')));
    return found;
  }
}

function encoded(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
