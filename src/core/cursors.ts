/**
 * Committed reading positions: how far each group has read each partition of each stream. All of them are in
 * memory; each change is also written to a table and durable with the next commit. Called by adapters through
 * `core.cursors`, and by `streams.ts` when a stream goes.
 *
 * Table `cursors`: the key is group, stream and partition joined by `/`, where `%` and `/` inside the two names are
 * escaped. The value, big-endian:
 *
 * | size | field                        |
 * |------|------------------------------|
 * |    8 | offset                       |
 * |    4 | leader epoch, -1 for none    |
 * |    8 | when it was committed, ms    |
 * |      | metadata, UTF-8, to the end  |
 */

import { Buffer } from 'node:buffer';
import type { Durability } from './durability.ts';
import { CoreError } from './errors.ts';
import type { Cursor, Cursors, GroupMembership } from './index.ts';
import type { Limits } from './limits.ts';
import type { Storage, Table } from './storage.ts';

export interface CursorTableParts {
  readonly storage: Storage;
  readonly durability: Durability;
  readonly limits: Limits;
}

/** A table's key has room for two names of this size, escaped. */
const NAME_BYTES_MAX = 255;
const METADATA_BYTES_MAX = 4_096;
const VALUE_HEADER_BYTES = 20;

type StreamCursors = Map<number, Cursor>;

export class CursorTable implements Cursors {
  readonly #parts: CursorTableParts;
  readonly #groups = new Map<string, Map<string, StreamCursors>>();
  #table: Table | null = null;
  #count = 0;
  readonly #memberships = new Set<GroupMembership>();

  constructor(parts: CursorTableParts) {
    this.#parts = parts;
  }

  /** Reads all of them. Called once, before the first use. */
  async load(): Promise<void> {
    this.#table = await this.#parts.storage.openTable('cursors');
    for await (const [key, value] of this.#table.scan('')) {
      const [group, stream, partition] = key.split('/').map(unescapeName) as [string, string, string];
      this.#set(group, stream, Number(partition), decodeCursor(value));
    }
  }

  commit(group: string, stream: string, partition: number, cursor: Cursor): void {
    checkName(group);
    checkName(stream);
    if (Buffer.byteLength(cursor.metadata, 'utf8') > METADATA_BYTES_MAX) {
      throw new CoreError('invalid-argument', `a cursor's metadata has at most ${METADATA_BYTES_MAX} bytes`);
    }
    const isNew = this.get(group, stream, partition) === undefined;
    if (isNew && this.#count >= this.#parts.limits.cursorsMax)
      throw new CoreError('limit-reached', `there are ${this.#count} committed positions already`);
    this.#set(group, stream, partition, cursor);
    (this.#table as Table).put(keyOf(group, stream, partition), encodeCursor(cursor));
    this.#parts.durability.written();
  }

  get(group: string, stream: string, partition: number): Cursor | undefined {
    return this.#groups.get(group)?.get(stream)?.get(partition);
  }

  *list(group: string): Iterable<readonly [stream: string, partition: number, cursor: Cursor]> {
    for (const [stream, cursors] of this.#groups.get(group) ?? []) {
      for (const [partition, cursor] of cursors) yield [stream, partition, cursor];
    }
  }

  groups(): Iterable<string> {
    return this.#groups.keys();
  }

  remove(group: string, stream: string | null, partition: number | null): void {
    const streams = this.#groups.get(group);
    if (streams === undefined) return;
    const names = stream === null ? [...streams.keys()] : [stream];
    for (const name of names) {
      const cursors = streams.get(name);
      if (cursors === undefined) continue;
      const indexes = partition === null ? [...cursors.keys()] : [partition];
      for (const index of indexes) {
        if (!cursors.delete(index)) continue;
        this.#count--;
        (this.#table as Table).remove(keyOf(group, name, index));
      }
      if (cursors.size === 0) streams.delete(name);
    }
    if (streams.size === 0) this.#groups.delete(group);
    this.#parts.durability.written();
  }

  follow(membership: GroupMembership): () => void {
    this.#memberships.add(membership);
    return () => this.#memberships.delete(membership);
  }

  memberships(): Iterable<GroupMembership> {
    return this.#memberships;
  }

  #set(group: string, stream: string, partition: number, cursor: Cursor): void {
    let streams = this.#groups.get(group);
    if (streams === undefined) {
      streams = new Map();
      this.#groups.set(group, streams);
    }
    let cursors = streams.get(stream);
    if (cursors === undefined) {
      cursors = new Map();
      streams.set(stream, cursors);
    }
    if (!cursors.has(partition)) this.#count++;
    cursors.set(partition, cursor);
  }
}

function checkName(name: string): void {
  if (Buffer.byteLength(name, 'utf8') > NAME_BYTES_MAX)
    throw new CoreError('invalid-name', `a group's or stream's name has at most ${NAME_BYTES_MAX} bytes`);
}

function keyOf(group: string, stream: string, partition: number): string {
  return `${escapeName(group)}/${escapeName(stream)}/${partition}`;
}

/** NUL ends a key in some tables, so it is escaped as well. */
function escapeName(name: string): string {
  return name.replaceAll('%', '%25').replaceAll('/', '%2F').replaceAll('\0', '%00');
}

function unescapeName(name: string): string {
  return name.replaceAll('%00', '\0').replaceAll('%2F', '/').replaceAll('%25', '%');
}

function encodeCursor(cursor: Cursor): Uint8Array {
  const metadataBytes = Buffer.byteLength(cursor.metadata, 'utf8');
  const value = Buffer.alloc(VALUE_HEADER_BYTES + metadataBytes);
  value.writeBigInt64BE(BigInt(cursor.offset), 0);
  value.writeInt32BE(cursor.leaderEpoch, 8);
  value.writeBigInt64BE(BigInt(cursor.committedAtMs), 12);
  value.write(cursor.metadata, VALUE_HEADER_BYTES, 'utf8');
  return value;
}

function decodeCursor(bytes: Uint8Array): Cursor {
  const value = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    offset: Number(value.readBigInt64BE(0)),
    leaderEpoch: value.readInt32BE(8),
    committedAtMs: Number(value.readBigInt64BE(12)),
    metadata: value.toString('utf8', VALUE_HEADER_BYTES),
  };
}
