/**
 * How often each message of one named group was failed with, so that a message that nobody can deal with is not begun
 * anew by every restart. Only what failed at least once and still waits has an entry here, and a row in the table
 * `queue-attempts` under the numbers of the queue, the group and the message. Used by `group.ts`, made by `queues.ts`.
 */

import { decodeDefinition, encodeDefinition } from './definition.ts';
import type { Durability } from './durability.ts';
import type { Table } from './storage.ts';

export class Attempts {
  readonly #table: Table;
  readonly #durability: Durability;
  /** Of the keys, with the separator. */
  readonly #prefix: string;
  readonly #counts: Map<number, number>;

  private constructor(
    table: Table,
    durability: Durability,
    queue: number,
    group: number,
    counts: Map<number, number>,
  ) {
    this.#table = table;
    this.#durability = durability;
    this.#prefix = `${queue}/${group}/`;
    this.#counts = counts;
  }

  /** What the table holds of any group; each is to be asked for once. */
  static async load(
    table: Table,
    durability: Durability,
  ): Promise<(queue: number, group: number) => Attempts> {
    const found = new Map<string, Map<number, number>>();
    for await (const [key, bytes] of table.scan('')) {
      const end = key.lastIndexOf('/');
      const group = key.slice(0, end);
      const counts = found.get(group) ?? new Map<number, number>();
      found.set(group, counts);
      counts.set(Number(key.slice(end + 1)), decodeDefinition(bytes) as number);
    }
    return (queue, group) => {
      const key = `${queue}/${group}`;
      const counts = found.get(key) ?? new Map<number, number>();
      found.delete(key);
      return new Attempts(table, durability, queue, group, counts);
    };
  }

  countOf(row: number): number {
    return this.#counts.get(row) ?? 0;
  }

  failed(row: number, count: number): void {
    this.#counts.set(row, count);
    this.#table.put(this.#prefix + row, encodeDefinition(count));
    this.#durability.written();
  }

  /** The message is gone. The caller says that something was written. */
  forget(row: number): void {
    if (this.#counts.delete(row)) this.#table.remove(this.#prefix + row);
  }

  /** The group is over. */
  clear(): void {
    for (const row of this.#counts.keys()) this.#table.remove(this.#prefix + row);
    this.#counts.clear();
  }
}
