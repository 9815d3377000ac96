/**
 * A will as it is kept in the small state of a durable session, so that the end of the process does not lose it. Read
 * and written by `wills.ts`. Numbers are big-endian.
 *
 * | at | size | field                                                            |
 * |----|------|------------------------------------------------------------------|
 * |  0 |    1 | format, 1                                                        |
 * |  1 |    1 | bits 0-1 QoS, 2 retain, 3 text, 4 has properties, 5 these describe it |
 * |  2 |    1 | priority                                                         |
 * |  3 |    8 | when it is due, ms since 1970 (double), 0 while its client is there |
 * | 11 |    8 | longest wait from the end of the connection, ms (double)         |
 * | 19 |    8 | message expiry, seconds (double), -1 for none                    |
 * |    |      | principal as JSON, topic, [properties], payload: each 4 bytes of length and the bytes |
 */

import type { Principal, Reliability } from '../../../src/core/index.ts';
import type { Will } from '../codec/connect.ts';

const FORMAT = 1;
const FIXED_BYTES = 27;

export interface WillRecord {
  readonly will: Will;
  /** Whose rights it is published with. */
  readonly principal: Principal;
  /** 0 while its client is connected. */
  readonly dueMs: number;
  /** From the end of the connection on: the lower of its delay and what the session had left. */
  readonly waitMs: number;
}

export function bytesFromWill({ will, principal, dueMs, waitMs }: WillRecord): Uint8Array {
  const { native } = will;
  const parts = [
    Buffer.from(JSON.stringify(principal)),
    Buffer.from(will.topic),
    ...(native === null ? [] : [native]),
    will.body,
  ];
  const bytes = Buffer.allocUnsafe(parts.reduce((size, part) => size + 4 + part.length, FIXED_BYTES));
  bytes[0] = FORMAT;
  bytes[1] =
    will.qos |
    (will.retain ? 4 : 0) |
    (will.isText ? 8 : 0) |
    (native === null ? 0 : 16) |
    (will.described === true ? 32 : 0);
  bytes[2] = will.priority;
  bytes.writeDoubleBE(dueMs, 3);
  bytes.writeDoubleBE(waitMs, 11);
  let at = bytes.writeDoubleBE(will.expirySeconds, 19);
  for (const part of parts) {
    at = bytes.writeUInt32BE(part.length, at);
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Null for bytes that this never wrote. */
export function willFromBytes(stored: Uint8Array): WillRecord | null {
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.length);
  if (bytes[0] !== FORMAT || bytes.length < FIXED_BYTES) return null;
  const flags = bytes[1] as number;
  const parts: Buffer[] = [];
  for (let at = FIXED_BYTES; at + 4 <= bytes.length; ) {
    const end = at + 4 + bytes.readUInt32BE(at);
    parts.push(bytes.subarray(at + 4, end));
    at = end;
  }
  const [principal, topic] = parts;
  const body = parts.at(-1);
  const hasNative = (flags & 16) !== 0;
  if (principal === undefined || topic === undefined || body === undefined) return null;
  if (parts.length !== (hasNative ? 4 : 3)) return null;
  return {
    will: {
      topic: topic.toString('utf8'),
      // How long it waits is `waitMs` from here on.
      delaySeconds: 0,
      body,
      qos: (flags & 3) as Reliability,
      retain: (flags & 4) !== 0,
      isText: (flags & 8) !== 0,
      native: hasNative ? (parts[2] as Buffer) : null,
      expirySeconds: bytes.readDoubleBE(19),
      priority: bytes[2] as number,
      described: (flags & 32) !== 0,
    },
    principal: JSON.parse(principal.toString('utf8')) as Principal,
    dueMs: bytes.readDoubleBE(3),
    waitMs: bytes.readDoubleBE(11),
  };
}
