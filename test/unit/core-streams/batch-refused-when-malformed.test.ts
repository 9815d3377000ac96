import { describe, expect, it } from 'vitest';
import { decodeRecords, iterateBatches } from '../../../src/core/batch-records.ts';
import { validateBatch } from '../../../src/core/batch-validation.ts';
import { BatchField, CoreError } from '../../../src/core/index.ts';
import { batchOf, crc, NO_COMPRESSION, producerBatch, restamp } from './stream-world.ts';

function codeOf(task: () => unknown): string {
  try {
    task();
    return 'accepted';
  } catch (error) {
    return error instanceof CoreError ? error.code : `untyped: ${error}`;
  }
}

function validated(change: (batch: Buffer) => Buffer | undefined, bytesMax = 10_000): string {
  const batch = producerBatch(7n, 0, 0, 3);
  return codeOf(() => validateBatch(change(batch) ?? restamp(batch), bytesMax, crc));
}

describe('a batch is refused', () => {
  it.each<[string, string, (batch: Buffer) => Buffer | undefined]>([
    ['accepted', 'unchanged', () => undefined],
    ['corrupt-batch', 'without a whole header', (batch) => batch.subarray(0, 60)],
    ['corrupt-batch', 'empty', (batch) => batch.subarray(0, 0)],
    ['corrupt-batch', 'cut off', (batch) => batch.subarray(0, -1)],
    ['corrupt-batch', 'with bytes after it', (batch) => Buffer.concat([batch, Buffer.alloc(1)])],
    ['corrupt-batch', 'of version 1', (batch) => void batch.writeUInt8(1, BatchField.version)],
    ['corrupt-batch', 'of version 3', (batch) => void batch.writeUInt8(3, BatchField.version)],
    ['corrupt-batch', 'with codec 5', (batch) => void batch.writeInt16BE(5, BatchField.attributes)],
    ['corrupt-batch', 'as a control batch', (batch) => void batch.writeInt16BE(0x20, BatchField.attributes)],
    ['corrupt-batch', 'counting no record', (batch) => void batch.writeInt32BE(0, BatchField.recordCount)],
    ['corrupt-batch', 'counting too few', (batch) => void batch.writeInt32BE(2, BatchField.recordCount)],
    ['corrupt-batch', 'with a gap', (batch) => void batch.writeInt32BE(9, BatchField.lastOffsetDelta)],
    ['corrupt-batch', 'without epoch', (batch) => void batch.writeInt16BE(-1, BatchField.producerEpoch)],
    ['corrupt-batch', 'without sequence', (batch) => void batch.writeInt32BE(-1, BatchField.baseSequence)],
    [
      'corrupt-batch',
      'dated beyond all time',
      (batch) => void batch.writeBigInt64BE(2n ** 62n, BatchField.maxTimestamp),
    ],
    [
      'corrupt-batch',
      'with a wrong checksum',
      (batch) => {
        batch[batch.length - 1] = (batch[batch.length - 1] as number) ^ 1;
        return batch;
      },
    ],
  ])('%s: %s', (code, _name, change) => {
    expect(validated(change)).toBe(code);
  });

  it('when it is larger than the bound, and only then', () => {
    const bytes = producerBatch(7n, 0, 0, 3).length;
    expect(validated(() => undefined, bytes)).toBe('accepted');
    expect(validated(() => undefined, bytes - 1)).toBe('message-too-large');
  });
});

describe('records are refused', () => {
  const decoded = (change: (batch: Buffer) => void) => {
    const batch = batchOf(['one', 'two'], 'key');
    change(batch);
    return codeOf(() => decodeRecords(batch, NO_COMPRESSION));
  };

  it.each<[string, string, (batch: Buffer) => void]>([
    ['accepted', 'unchanged', () => undefined],
    ['corrupt-batch', 'more than fit', (batch) => batch.writeInt32BE(0x7fff_ffff, BatchField.recordCount)],
    ['corrupt-batch', 'less than there are', (batch) => batch.writeInt32BE(1, BatchField.recordCount)],
    ['corrupt-batch', 'of negative length', (batch) => void batch.writeUInt8(1, 61)],
    ['corrupt-batch', 'longer than the batch', (batch) => void batch.writeUInt8(0x7e, 61)],
    ['corrupt-batch', 'with a key past the end', (batch) => void batch.writeUInt8(0x7e, 65)],
    ['corrupt-batch', 'with a key of length -2', (batch) => void batch.writeUInt8(3, 65)],
    ['corrupt-batch', 'outside the batch', (batch) => void batch.writeUInt8(4, 64)],
  ])('%s: %s', (code, _name, change) => {
    expect(decoded(change)).toBe(code);
  });
});

it('several batches in one buffer come one after the other, and a torn one is refused', () => {
  const first = batchOf(['a']);
  const second = batchOf(['b', 'c']);
  const both = Buffer.concat([first, second]);
  expect([...iterateBatches(both)]).toEqual([first, second]);
  expect(codeOf(() => [...iterateBatches(both.subarray(0, -1))])).toBe('corrupt-batch');
  expect(codeOf(() => [...iterateBatches(both.subarray(0, first.length + 20))])).toBe('corrupt-batch');
  expect([...iterateBatches(Buffer.alloc(0))]).toEqual([]);
});
