/**
 * The table `mappings` on the disk. One rule is one row, name → definition. A set of many rules is put so that a crash
 * leaves all of it or none, and without holding up messages: what changes is written in pieces over many turns and
 * committed, then a mark says that it counts, and only then the rows of the rules follow. A start that finds the mark
 * finishes the work; pieces without a mark are forgotten.
 *
 * | row                 | value                                                          |
 * |---------------------|----------------------------------------------------------------|
 * | name                | definition (`definition.ts`)                                   |
 * | U+0000 `set/` 0000… | piece of a set: `[[name, definition, removed], …]`             |
 * | U+0000 `set`        | the mark: how many pieces there are                            |
 */

import { Buffer } from 'node:buffer';
import { decodeDefinition, encodeDefinition } from './definition.ts';
import type { Durability } from './durability.ts';
import type { Storage, Table } from './storage.ts';

/** A definition to store, or a rule to forget. */
export interface StoredChange {
  readonly name: string;
  readonly definition: unknown;
  readonly removed: boolean;
  /** The definition as it is stored; made by `prepare`. */
  bytes?: Uint8Array;
}

type Row = readonly [name: string, definition: unknown, removed: boolean];

const MARK = '\0set';
const PIECE_PREFIX = '\0set/';
const INDEX_DIGITS = 8;
/** Rules in one piece, and written in one turn: well under a millisecond. */
const PIECE_RULES = 50;

export class MappingStore {
  readonly #durability: Durability;
  readonly #turn: () => Promise<void>;
  readonly #table: Table;

  private constructor(table: Table, durability: Durability, turn: () => Promise<void>) {
    this.#table = table;
    this.#durability = durability;
    this.#turn = turn;
  }

  static async open(
    storage: Storage,
    durability: Durability,
    turn: () => Promise<void>,
  ): Promise<MappingStore> {
    const store = new MappingStore(await storage.openTable('mappings'), durability, turn);
    await store.#finish();
    return store;
  }

  async load(): Promise<(readonly [name: string, definition: unknown])[]> {
    const stored: (readonly [string, unknown])[] = [];
    for await (const [name, bytes] of this.#table.scan('')) {
      if (!name.startsWith(MARK)) stored.push([name, decodeDefinition(bytes)]);
    }
    return stored;
  }

  put(name: string, definition: unknown): void {
    this.#table.put(name, encodeDefinition(definition));
    this.#durability.written();
  }

  remove(name: string): void {
    this.#table.remove(name);
    this.#durability.written();
  }

  /** Resolves when everything so far is on the disk; rejects where it refuses. */
  stored(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#durability.whenStored((error) => (error === null ? resolve() : reject(error)));
    });
  }

  /** From here on the set survives a crash; `complete` writes it to its place. Rejects where the disk refuses. */
  async prepare(changes: readonly StoredChange[]): Promise<void> {
    const count = Math.ceil(changes.length / PIECE_RULES);
    try {
      for (let index = 0; index < count; index++) {
        const piece = changes.slice(index * PIECE_RULES, (index + 1) * PIECE_RULES);
        this.#table.put(pieceKey(index), encodePiece(piece));
        this.#durability.written();
        await this.#turn();
      }
      await this.stored();
      this.#table.put(MARK, encodeDefinition(count));
      this.#durability.written();
      await this.stored();
    } catch (error) {
      this.#forget(count);
      throw error;
    }
  }

  /** Writes a prepared set to its place. */
  async complete(changes: readonly StoredChange[]): Promise<void> {
    for (let at = 0; at < changes.length; at++) {
      const { name, definition, removed, bytes } = changes[at] as StoredChange;
      if (removed) this.#table.remove(name);
      else this.#table.put(name, bytes ?? encodeDefinition(definition));
      if ((at + 1) % PIECE_RULES === 0) {
        this.#durability.written();
        await this.#turn();
      }
    }
    this.#forget(Math.ceil(changes.length / PIECE_RULES));
    await this.stored();
  }

  /** A prepared set is not applied after all. */
  abandon(changes: readonly StoredChange[]): void {
    this.#forget(Math.ceil(changes.length / PIECE_RULES));
  }

  async #finish(): Promise<void> {
    const marked = (await this.#table.get(MARK)) !== undefined;
    const pieces: string[] = [];
    const changes: StoredChange[] = [];
    for await (const [key, bytes] of this.#table.scan(PIECE_PREFIX)) {
      pieces.push(key);
      if (!marked) continue;
      for (const [name, definition, removed] of decodeDefinition(bytes) as Row[])
        changes.push({ name, definition, removed });
    }
    if (marked) await this.complete(changes);
    for (const key of pieces) this.#table.remove(key);
    if (pieces.length > 0) this.#durability.written();
  }

  #forget(pieces: number): void {
    this.#table.remove(MARK);
    for (let index = 0; index < pieces; index++) this.#table.remove(pieceKey(index));
    this.#durability.written();
  }
}

/** `encodeDefinition` of the rows, with each definition encoded once for the piece and for its own row. */
function encodePiece(piece: readonly StoredChange[]): Uint8Array {
  const rows = piece.map((change) => {
    if (change.removed) return `[${JSON.stringify(change.name)},null,true]`;
    const bytes = encodeDefinition(change.definition);
    change.bytes = bytes;
    return `[${JSON.stringify(change.name)},${Buffer.from(bytes).toString()},false]`;
  });
  return Buffer.from(`[${rows.join(',')}]`);
}

function pieceKey(index: number): string {
  return PIECE_PREFIX + String(index).padStart(INDEX_DIGITS, '0');
}
