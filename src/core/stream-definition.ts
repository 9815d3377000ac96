/**
 * A stream's definition as it is stored, and what a definition must satisfy. Used by `streams.ts`.
 */

import { Buffer } from 'node:buffer';
import { decodeDefinition, encodeDefinition } from './definition.ts';
import { CoreError } from './errors.ts';
import type { StreamSpec } from './index.ts';
import type { Limits } from './limits.ts';
import { Pattern } from './pattern.ts';
import type { BatchLogOptions } from './storage.ts';

const NAME_BYTES_MAX = 255;

interface StoredStream {
  readonly id: Uint8Array;
  readonly name: string;
  readonly partitions: number;
  /** Keys of patterns. */
  readonly captures: readonly string[];
  readonly log: BatchLogOptions;
  readonly settings: Readonly<Record<string, string>>;
}

export function encodeStream(id: Uint8Array, spec: StreamSpec): Uint8Array {
  const stored: StoredStream = { ...spec, id, captures: spec.captures.map((pattern) => pattern.key) };
  return encodeDefinition(stored);
}

export function decodeStream(bytes: Uint8Array): { readonly id: Uint8Array; readonly spec: StreamSpec } {
  const { id, captures, ...rest } = decodeDefinition(bytes) as StoredStream;
  return { id, spec: { ...rest, captures: captures.map((key) => Pattern.parse(key)) } };
}

/** Throws CoreError `invalid-name`, `invalid-argument` or `limit-reached`. */
export function checkStream(spec: StreamSpec, limits: Limits): void {
  const nameBytes = Buffer.byteLength(spec.name, 'utf8');
  if (nameBytes === 0 || nameBytes > NAME_BYTES_MAX)
    throw new CoreError('invalid-name', `a stream's name has 1 to ${NAME_BYTES_MAX} bytes, not ${nameBytes}`);
  if (!Number.isInteger(spec.partitions) || spec.partitions < 1)
    throw new CoreError('invalid-argument', `a stream has at least one partition, not ${spec.partitions}`);
  if (spec.partitions > limits.partitionsPerStreamMax) {
    throw new CoreError(
      'limit-reached',
      `a stream has at most ${limits.partitionsPerStreamMax} partitions, not ${spec.partitions}`,
    );
  }
}
