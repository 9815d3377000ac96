/**
 * CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected), the checksum of record batches and of every frame that the
 * storage writes. The native one runs at several GB/s; where its binary cannot be loaded a table does the same, and also for
 * the first bytes, so that a gateway that is idle does not load it.
 */

import { createRequire } from 'node:module';

const POLYNOMIAL_REFLECTED = 0x82f63b78;

export type Checksum = (bytes: Uint8Array) => number;

const TABLE_BYTES_MAX = 65_536;

let tableBytes = 0;
let compute: Checksum = (bytes) => {
  tableBytes += bytes.length;
  if (tableBytes > TABLE_BYTES_MAX) compute = loadNative() ?? crc32cByTable;
  return tableBytes > TABLE_BYTES_MAX ? compute(bytes) : crc32cByTable(bytes);
};

/** A wrapper, so that a caller's second argument never becomes the initial state. */
export const crc32c: Checksum = (bytes) => compute(bytes);

function loadNative(): Checksum | null {
  try {
    return (createRequire(import.meta.url)('@node-rs/crc32') as { crc32c: Checksum }).crc32c;
  } catch {
    return null;
  }
}

let table: Uint32Array | null = null;

export function crc32cByTable(bytes: Uint8Array): number {
  table ??= buildTable();
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) {
    crc = (crc >>> 8) ^ (table[(crc ^ (bytes[i] as number)) & 0xff] as number);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function buildTable(): Uint32Array {
  const entries = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    let value = i;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL_REFLECTED : value >>> 1;
    entries[i] = value >>> 0;
  }
  return entries;
}
