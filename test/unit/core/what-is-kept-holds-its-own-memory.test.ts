/** What waits holds on to little more than its own bytes, not to the memory in which others came and went. */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { message } from 'rhea';
import { expect, it } from 'vitest';
import { messageFromAmqp10 } from '../../../mappings/amqp10.ts';
import { recordCodec } from '../../../mappings/kafka.ts';
import { PLAIN_DELIVERY } from '../../../src/core/delivery.ts';
import type { Message } from '../../../src/core/message.ts';
import { MessageFormat } from '../../../src/core/message-format.ts';
import { BATCH_HEADER_BYTES } from '../../../src/core/record-batch.ts';
import { Tail, TailBudget } from '../../../src/storage/segment/tail-cache.ts';
import { bodyOf, messageTo, openTestCore } from '../../support/core.ts';
import { rheaCodec } from '../amqp10/rhea-codec.ts';

const COUNT = 500;
const CHUNK_BYTES = 64 * 1024;

function collector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc');
}

/** As it comes from a socket: in the midst of what was read with it. */
function arrivedInChunk(body: string): Message {
  const chunk = new Uint8Array(CHUNK_BYTES);
  const length = Buffer.from(body).copy(chunk, 1_000);
  return messageTo('a', '', { body: chunk.subarray(1_000, 1_000 + length) });
}

const decode = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

/** That what `make` keeps of texts of so many bytes holds little more than twice that, and `read` finds them in it. */
async function expectLittleHeld<T>(bytes: number, make: (text: string) => T, read: (kept: T) => string) {
  const collect = collector();
  collect();
  const before = process.memoryUsage().arrayBuffers;
  const texts = Array.from({ length: COUNT }, (_, index) => `${index}`.padEnd(bytes, '.'));
  const kept: T[] = [];
  for (const text of texts) {
    kept.push(make(text));
    // What others take of the pieces of memory that small buffers share.
    for (let taken = 0; taken < 64; taken++) Buffer.allocUnsafe(1_000);
  }
  await expect
    .poll(() => {
      collect();
      return process.memoryUsage().arrayBuffers - before;
    })
    .toBeLessThan(COUNT * 2 * bytes + CHUNK_BYTES);
  expect(kept.map(read)).toEqual(texts);
}

it.each([10, 64, 3_000, 20_000])('as messages of %i bytes, however much else goes by', (bytes) =>
  expectLittleHeld(
    bytes,
    (text) => arrivedInChunk(text).kept(),
    ({ body }) => decode(body),
  ),
);

/** In memory of its own, as a small chunk of a quiet connection. */
const alone = (bytes: string | Buffer): Buffer => Buffer.from(new Uint8Array(Buffer.from(bytes)).buffer);

it.each([alone('body'), null])('as records in small chunks (%#)', (value) =>
  expectLittleHeld(
    100,
    (text) => {
      const headers = [{ name: 'h', value: alone('v') }];
      return recordCodec.messageFromRecord({ key: alone(text), value, headers, timestampMs: 1 }, 'a').kept();
    },
    ({ key }) => decode(key!),
  ),
);

it('as messages of AMQP 1.0 in small chunks', () =>
  expectLittleHeld(
    150,
    (text) => {
      const encoded = rheaCodec.encode({
        application_properties: { a: 'b' },
        body: message.data_section(Buffer.from(text)),
      });
      return messageFromAmqp10(alone(encoded), 'a', '', 1)!.kept();
    },
    ({ body }) => decode(body),
  ));

it('as messages with nothing but a key in large chunks', () =>
  expectLittleHeld(
    100,
    (text) => messageTo('a', '', { key: arrivedInChunk(text).body }).kept(),
    ({ key }) => decode(key!),
  ));

it('as rows that wait for a checkpoint', () => {
  const format = new MessageFormat([]);
  return expectLittleHeld(
    60,
    (text) => format.encode(messageTo('a', text), PLAIN_DELIVERY, 0),
    (row) => bodyOf(format.decode(row).message),
  );
});

it('as what a session knows', async () => {
  const { core } = await openTestCore();
  const { session } = await core.sessions.open('s', { clean: true, durable: false });
  let count = 0;
  await expectLittleHeld(
    20,
    (text) => {
      session.putState(`${++count}`, Buffer.from(text));
      return session.state.get(`${count}`) as Uint8Array;
    },
    decode,
  );
  await core.close();
});

/** A batch as far as a tail looks into it, in memory of `memoryBytes`. */
function batchAt(offset: number, text: string, memoryBytes: number): Buffer {
  const length = BATCH_HEADER_BYTES + Buffer.byteLength(text);
  const batch = Buffer.from(new ArrayBuffer(memoryBytes || length), 0, length);
  batch.writeBigInt64BE(BigInt(offset), 0);
  batch.write(text, BATCH_HEADER_BYTES);
  return batch;
}

it.each([0, 500, 4_000, CHUNK_BYTES])(
  'as the newest batches of logs, from pieces of %i bytes',
  (memoryBytes) => {
    const tail = new Tail(new TailBudget(1_000_000));
    let offset = 0;
    return expectLittleHeld(
      200,
      (text) => {
        tail.add(batchAt(offset, text, memoryBytes));
        return tail.read(offset++, 0) as Buffer;
      },
      (batch) => decode(batch.subarray(BATCH_HEADER_BYTES)),
    );
  },
);

it('as messages with key and properties, each unchanged by those kept behind it', () => {
  const partOf = (text: string): Uint8Array => arrivedInChunk(text).body;
  const codec = { name: 'c', decode: () => ({ headers: [] }) } as never;
  const kept = Array.from({ length: 2_000 }, (_, index) =>
    messageTo('a', '', {
      body: partOf(`body ${index}`),
      key: index % 3 === 0 ? null : partOf(`key ${index}`),
      codec,
      native: partOf(`${index}`.repeat(index % 40)),
    }).kept(),
  );
  const textOf = (bytes: Uint8Array | null): string | null => bytes && decode(bytes);
  kept.forEach((message, index) => {
    expect(textOf(message.body)).toBe(`body ${index}`);
    expect(textOf(message.key)).toBe(index % 3 === 0 ? null : `key ${index}`);
    expect(textOf(message.native)).toBe(`${index}`.repeat(index % 40));
    expect(message.kept()).toBe(message);
  });
});
