/**
 * Keys of the LMDB database. One database holds everything; keys are compared as bytes, so the rows of a log lie
 * together in the order of their offsets, and the entries of a table in the order of their keys' UTF-8 bytes.
 *
 * Row:
 *
 * | at | size | field              |
 * |----|------|--------------------|
 * |  0 |    1 | 2                  |
 * |  1 |    4 | log id, big-endian |
 * |  5 |    6 | offset, big-endian |
 *
 * Table entry:
 *
 * | at | size | field                                                                         |
 * |----|------|-------------------------------------------------------------------------------|
 * |  0 |    1 | 3                                                                             |
 * |  1 |    4 | table id, big-endian                                                          |
 * |  5 |    n | key, UTF-8; of a key longer than 1000 bytes only the first 1000               |
 * |    | 0 or 32 | SHA-256 of a key longer than 1000 bytes; its value begins with its length (4) and itself |
 */

import { createHash } from 'node:crypto';

export const ROW_KEY_BYTES = 11;
/** LMDB takes keys of up to 1978 bytes. */
export const PLAIN_KEY_BYTES_MAX = 1000;
export const ENTRY_PREFIX_BYTES = 5;

const ROW = 2;
const ENTRY = 3;

export function rowKey(log: number, offset: number): Buffer {
  const key = Buffer.allocUnsafe(ROW_KEY_BYTES);
  key[0] = ROW;
  key.writeUInt32BE(log, 1);
  key.writeUIntBE(offset, 5, 6);
  return key;
}

export function offsetFromRowKey(key: Uint8Array): number {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).readUIntBE(5, 6);
}

export function entryKey(table: number, key: Buffer): Buffer {
  const isLong = key.length > PLAIN_KEY_BYTES_MAX;
  const plain = isLong ? key.subarray(0, PLAIN_KEY_BYTES_MAX) : key;
  const parts = [entryPrefix(table), plain];
  if (isLong) parts.push(createHash('sha256').update(key).digest());
  return Buffer.concat(parts);
}

export function entryPrefix(table: number): Buffer {
  const prefix = Buffer.allocUnsafe(ENTRY_PREFIX_BYTES);
  prefix[0] = ENTRY;
  prefix.writeUInt32BE(table, 1);
  return prefix;
}

export function isLongEntryKey(key: Uint8Array): boolean {
  return key.length > ENTRY_PREFIX_BYTES + PLAIN_KEY_BYTES_MAX;
}

/** The stored value of an entry: with the key in front where the database's key does not hold all of it. */
export function entryValue(key: Buffer, value: Uint8Array): Uint8Array {
  if (key.length <= PLAIN_KEY_BYTES_MAX) return value;
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32BE(key.length);
  return Buffer.concat([length, key, value]);
}

/** The other way round, from what the database gave. */
export function entryFromStored(
  storedKey: Uint8Array,
  stored: Buffer,
): readonly [key: Buffer, value: Buffer] {
  if (!isLongEntryKey(storedKey)) return [Buffer.from(storedKey.subarray(ENTRY_PREFIX_BYTES)), stored];
  const length = stored.readUInt32BE(0);
  return [stored.subarray(4, 4 + length), stored.subarray(4 + length)];
}

/** The smallest key after all keys that begin with `prefix`; null when there is none. */
export function keyAfterPrefix(prefix: Buffer): Buffer | null {
  for (let i = prefix.length - 1; i >= 0; i--) {
    if (prefix[i] === 0xff) continue;
    const after = Buffer.from(prefix.subarray(0, i + 1));
    after[i] = (after[i] as number) + 1;
    return after;
  }
  return null;
}
