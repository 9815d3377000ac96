/**
 * A table; implements `Table` of the core. Entries are in LMDB; what changed lately is in an overlay in memory that
 * reads look at first, and in the journal. While a checkpoint moves one overlay into LMDB a second one takes the
 * new changes. Keys are compared by their UTF-8 bytes.
 */

import type { Table } from '../../core/storage.ts';
import { type Change, Database, type StoredEntry } from './database.ts';
import type { FrameWriter } from './journal-frame.ts';
import { entryFromStored, entryKey, entryValue, isLongEntryKey, PLAIN_KEY_BYTES_MAX } from './keys.ts';
import { Overlay } from './overlay.ts';
import type { Home, Part } from './part.ts';
import { compareUtf8 } from './sorted-keys.ts';

/** Entries read from LMDB at a time during a scan. */
const SCAN_ENTRIES = 256;

export class DurableTable implements Table, Part {
  readonly id: number;
  readonly #home: Home;
  #fresh = new Overlay();
  #moving: Overlay | null = null;
  /** Keys that the next frame must hold. */
  #unframed = new Set<string>();
  #inCheckpoint = false;

  constructor(home: Home, id: number) {
    this.#home = home;
    this.id = id;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.getSync(key);
  }

  getSync(key: string): Uint8Array | undefined {
    const known = this.#fresh.get(key) ?? this.#peekMoving(key);
    if (known !== undefined) return known ?? undefined;
    const keyBytes = Buffer.from(key);
    const storedKey = entryKey(this.id, keyBytes);
    const stored = this.#home.database.get(storedKey);
    return stored === undefined ? undefined : entryFromStored(storedKey, stored)[1];
  }

  /** As `Overlay.get`; a removal in the fresh overlay hides what is moving. */
  #peekMoving(key: string): Uint8Array | null | undefined {
    if (this.#fresh.get(key) === null) return null;
    return this.#moving?.get(key);
  }

  put(key: string, value: Uint8Array): void {
    this.#set(key, value);
  }

  remove(key: string): void {
    this.#set(key, null);
  }

  #set(key: string, value: Uint8Array | null): void {
    this.#fresh.set(key, value);
    if (this.#unframed.size === 0) this.#home.changed(this);
    this.#unframed.add(key);
  }

  async *scan(prefix: string): AsyncIterable<readonly [key: string, value: Uint8Array]> {
    // What memory knows now hides what LMDB says, also when it is moved there during the scan.
    const known = new Map<string, Uint8Array | null>();
    for (const overlay of [this.#moving, this.#fresh]) {
      if (overlay === null) continue;
      for (const key of overlay.keysWithPrefix(prefix)) known.set(key, overlay.get(key) as Uint8Array | null);
    }
    const ahead = [...known.keys()].sort(compareUtf8);
    let next = 0;
    for await (const [key, value] of this.#scanStored(prefix)) {
      while (next < ahead.length && compareUtf8(ahead[next] as string, key) < 0) {
        const entry = this.#entryOf(ahead[next++] as string, known);
        if (entry !== null) yield entry;
      }
      if (!known.has(key)) yield [key, value];
    }
    while (next < ahead.length) {
      const entry = this.#entryOf(ahead[next++] as string, known);
      if (entry !== null) yield entry;
    }
  }

  #entryOf(key: string, known: ReadonlyMap<string, Uint8Array | null>): readonly [string, Uint8Array] | null {
    const value = known.get(key) ?? null;
    return value === null ? null : [key, value];
  }

  async *#scanStored(prefix: string): AsyncIterable<readonly [key: string, value: Buffer]> {
    const prefixBytes = Buffer.from(prefix);
    let start = entryKey(this.id, prefixBytes.subarray(0, PLAIN_KEY_BYTES_MAX));
    let isAfter = false;
    const end = Database.endOfTable(this.id);
    for (;;) {
      const entries = this.#home.database.entries(start, isAfter, end, SCAN_ENTRIES);
      const last = entries.at(-1);
      if (last === undefined) return;
      const isLastPage = entries.length < SCAN_ENTRIES;
      // Long keys with the same beginning lie in the order of their hashes: they are sorted as one group.
      if (isLongEntryKey(last.key) && !isLastPage) this.#addRestOfGroup(entries, end);
      for (const [key, value] of sortLongKeys(entries)) {
        if (key.length >= prefixBytes.length && key.subarray(0, prefixBytes.length).equals(prefixBytes)) {
          yield [key.toString(), value];
        } else if (Buffer.compare(key.subarray(0, prefixBytes.length), prefixBytes) > 0) {
          return;
        }
      }
      if (isLastPage) return;
      start = entries.at(-1)?.key as Buffer;
      isAfter = true;
    }
  }

  #addRestOfGroup(entries: StoredEntry[], end: Buffer): void {
    for (;;) {
      const last = entries.at(-1) as StoredEntry;
      const more = this.#home.database.entries(Buffer.from(last.key), true, end, SCAN_ENTRIES);
      for (const entry of more) {
        if (!isSameGroup(last, entry)) return;
        entries.push(entry);
      }
      if (more.length < SCAN_ENTRIES) return;
    }
  }

  writeChanges(frame: FrameWriter): void {
    for (const key of this.#unframed) {
      const value = this.#fresh.get(key);
      if (value === null || value === undefined) frame.entryRemoved(this.id, key);
      else frame.entry(this.id, key, value);
    }
  }

  framed(): void {
    this.#unframed.clear();
    this.#joinCheckpoint();
  }

  #joinCheckpoint(): void {
    if (this.#inCheckpoint) return;
    this.#inCheckpoint = true;
    this.#home.toMove(this);
  }

  /** Keys are few and change in place: all of them move. */
  beginMove(): void {
    this.#inCheckpoint = false;
    this.#moving = this.#fresh;
    this.#fresh = new Overlay();
  }

  *changesToMove(): Iterable<Change> {
    for (const [key, value] of this.#moving?.entries() ?? []) {
      const keyBytes = Buffer.from(key);
      yield { key: entryKey(this.id, keyBytes), value: value === null ? null : entryValue(keyBytes, value) };
    }
  }

  endMove(): void {
    this.#moving = null;
  }

  cancelMove(): void {
    const overlay = this.#moving;
    if (overlay === null) return;
    for (const [key, value] of this.#fresh.entries()) overlay.set(key, value);
    this.#fresh = overlay;
    this.#moving = null;
    this.#joinCheckpoint();
  }
}

function isSameGroup(one: StoredEntry, other: StoredEntry): boolean {
  if (!isLongEntryKey(other.key)) return false;
  const length = one.key.length - 32;
  return Buffer.compare(one.key.subarray(0, length), other.key.subarray(0, length)) === 0;
}

/** Entries as keys and values, with each group of long keys in the order of the whole keys. */
function sortLongKeys(entries: readonly StoredEntry[]): (readonly [key: Buffer, value: Buffer])[] {
  const pairs = entries.map((entry) => entryFromStored(entry.key, entry.value));
  if (!entries.some((entry) => isLongEntryKey(entry.key))) return pairs;
  return pairs.sort((one, other) => Buffer.compare(one[0], other[0]));
}
