/**
 * Batches that we build are read alike by two independent libraries, and batches that they build by us. Values are
 * generated: keys and values of any bytes or none, repeated and empty header names, timestamps before their base.
 */

import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeBatch } from '../../../src/core/batch-builder.ts';
import { decodeRecords } from '../../../src/core/batch-records.ts';
import { validateBatch } from '../../../src/core/batch-validation.ts';
import type { StreamRecord } from '../../../src/core/index.ts';
import { crc, NO_COMPRESSION } from './stream-world.ts';

const load = createRequire(import.meta.url);
const KafkajsDecoder = load('kafkajs/src/protocol/decoder.js') as new (bytes: Buffer) => object;
const decodeByKafkajs = load('kafkajs/src/protocol/recordBatch/v0/decoder.js') as (
  decoder: object,
) => Promise<{ records: KafkajsRecord[] }>;
const { RecordBatch: encodeByKafkajs } = load('kafkajs/src/protocol/recordBatch/v0/index.js') as {
  RecordBatch(batch: object): Promise<{ buffer: Buffer }>;
};
const recordByKafkajs = load('kafkajs/src/protocol/recordBatch/record/v0/index.js') as (
  record: object,
) => object;
const platformatic = (await import(
  new URL('../../../node_modules/@platformatic/kafka/dist/protocol/records.js', import.meta.url).href
)) as {
  createRecordsBatch(messages: object[]): { dynamicBuffer: { buffer: Buffer } };
  readRecordsBatch(reader: object): {
    records: { key: Buffer; value: Buffer; timestampDelta: bigint; headers: [Buffer, Buffer][] }[];
  };
};
const { Reader } = (await import(
  new URL('../../../node_modules/@platformatic/kafka/dist/protocol/reader.js', import.meta.url).href
)) as { Reader: { from(bytes: Buffer): object } };

interface KafkajsRecord {
  readonly timestamp: string;
  readonly offset: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Record<string, Buffer | Buffer[]>;
}

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const optional = fc.option(bytes, { freq: 5 });
const name = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.constantFrom('a', 'é', ''));
const timestampMs = fc.oneof(
  fc.integer({ min: 1_600_000_000_000, max: 1_800_000_000_000 }),
  fc.integer({ min: -1, max: 2 ** 48 }),
);
const records = (
  header: fc.Arbitrary<{ name: string; value: Buffer | null }>,
  time: fc.Arbitrary<number> = timestampMs,
) =>
  fc.array(
    fc.record({
      key: optional,
      value: optional,
      headers: fc.array(header, { maxLength: 4 }),
      timestampMs: time,
    }),
    {
      minLength: 1,
      maxLength: 30,
    },
  );
/** It collects headers in an object, so names that every object has do not come back. */
const kafkajsName = name.filter((text) => !(text in {}));
/** Its numbers go wrong where two timestamps of a batch are further apart than 31 bits. */
const platformaticTime = fc.integer({ min: 1_700_000_000_000, max: 1_700_000_000_000 + 2 ** 30 });
const anyRecords = records(fc.record({ name, value: optional }));

function plain(list: readonly StreamRecord[]): unknown[] {
  const hex = (part: Uint8Array | null) => (part === null ? null : Buffer.from(part).toString('hex'));
  return list.map(({ key, value, headers, timestampMs: ms }) => ({
    key: hex(key),
    value: hex(value),
    headers: headers.map((header) => [header.name, hex(header.value)]),
    ms,
  }));
}

describe('record batches', () => {
  it('come back as they went in', () => {
    fc.assert(
      fc.property(anyRecords, (list) => {
        const batch = encodeBatch(list, crc);
        validateBatch(batch, 1 << 30, crc);
        const back = decodeRecords(batch, NO_COMPRESSION);
        expect(plain(back)).toEqual(plain(list));
        expect(back.map(({ offset }) => offset)).toEqual(list.map((_, i) => i));
      }),
      { numRuns: 500 },
    );
  });

  it('keep an offset that was stamped later', () => {
    const batch = encodeBatch([{ key: null, value: null, headers: [], timestampMs: 5 }], crc);
    batch.writeBigInt64BE(1_234_567_890_123n, 0);
    validateBatch(batch, 1_000, crc);
    expect(decodeRecords(batch, NO_COMPRESSION)[0]?.offset).toBe(1_234_567_890_123);
  });

  it('are read alike by kafkajs', async () => {
    await fc.assert(
      fc.asyncProperty(records(fc.record({ name: kafkajsName, value: optional })), async (list) => {
        const batch = encodeBatch(list, crc);
        const read = (await decodeByKafkajs(new KafkajsDecoder(batch))).records;
        expect(read.map(({ offset }) => Number(offset))).toEqual(list.map((_, i) => i));
        expect(read.map(({ timestamp }) => Number(timestamp))).toEqual(list.map((r) => r.timestampMs));
        expect(read.map(({ key }) => key)).toEqual(list.map((r) => r.key));
        expect(read.map(({ value }) => value)).toEqual(list.map((r) => r.value));
        for (const [i, { headers }] of read.entries()) {
          const sent = list[i]?.headers ?? [];
          expect(new Set(Object.keys(headers))).toEqual(new Set(sent.map((header) => header.name)));
          for (const [header, values] of Object.entries(headers)) {
            const same = sent.filter((other) => other.name === header);
            expect([values].flat()).toEqual(same.map(({ value }) => value));
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  it('are read alike by @platformatic/kafka', () => {
    fc.assert(
      fc.property(anyRecords, (list) => {
        const read = platformatic.readRecordsBatch(Reader.from(encodeBatch(list, crc))).records;
        expect(
          read.map(({ key, value, headers }) => ({
            key: key === null ? null : Buffer.from(key),
            value: value === null ? null : Buffer.from(value),
            headers: headers.map(([header, content]) => [Buffer.from(header).toString(), content]),
          })),
        ).toEqual(
          list.map(({ key, value, headers }) => ({
            key,
            value,
            headers: headers.map((header) => [header.name, header.value]),
          })),
        );
      }),
      { numRuns: 150 },
    );
  });

  it('of kafkajs are valid and read alike', async () => {
    const simple = records(fc.record({ name: fc.constantFrom('a', 'b', 'é'), value: bytes }));
    await fc.assert(
      fc.asyncProperty(simple, async (list) => {
        const first = list[0] as StreamRecord;
        const { buffer } = await encodeByKafkajs({
          firstTimestamp: first.timestampMs,
          maxTimestamp: Math.max(...list.map((r) => r.timestampMs)),
          lastOffsetDelta: list.length - 1,
          records: list.map((r, offsetDelta) =>
            recordByKafkajs({
              offsetDelta,
              timestampDelta: r.timestampMs - first.timestampMs,
              key: r.key,
              value: r.value,
              headers: Object.fromEntries(r.headers.map((header) => [header.name, header.value])),
            }),
          ),
        });
        validateBatch(buffer, 1 << 30, crc);
        const back = decodeRecords(buffer, NO_COMPRESSION);
        const unique = list.map((r) => ({
          ...r,
          headers: [...new Map(r.headers.map((header) => [header.name, header])).values()],
        }));
        expect(plain(back)).toEqual(plain(unique));
      }),
      { numRuns: 100 },
    );
  });

  it('of @platformatic/kafka are valid and read alike', () => {
    fc.assert(
      fc.property(records(fc.record({ name, value: bytes }), platformaticTime), (list) => {
        const written = platformatic.createRecordsBatch(
          list.map(({ key, value, headers, timestampMs: ms }) => ({
            key,
            value,
            timestamp: BigInt(ms),
            headers: new Map(headers.map((header) => [Buffer.from(header.name), header.value])),
            topic: 't',
            partition: 0,
          })),
        ).dynamicBuffer.buffer;
        const batch = Buffer.from(written);
        validateBatch(batch, 1 << 30, crc);
        expect(plain(decodeRecords(batch, NO_COMPRESSION))).toEqual(plain(list));
      }),
      { numRuns: 100 },
    );
  });
});
