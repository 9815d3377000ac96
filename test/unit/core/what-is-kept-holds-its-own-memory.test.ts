/** What waits holds on to its own bytes, not to the large pieces of memory in which other bytes came and went. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import type { Message } from '../../../src/core/message.ts';
import { BATCH_HEADER_BYTES } from '../../../src/core/record-batch.ts';
import { Tail, TailBudget } from '../../../src/storage/segment/tail-cache.ts';
import { messageTo, openTestCore } from '../../support/core.ts';

const COUNT = 500;
const CHUNK_BYTES = 64 * 1024;

function collector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc');
}

/** As it comes from a socket: in the midst of what was read with it. */
function arrivedInChunk(body: string): Message {
  const chunk = new Uint8Array(CHUNK_BYTES);
  const length = chunk.length - Buffer.from(body).copy(chunk, 1_000);
  return messageTo('a', '', { body: chunk.subarray(1_000, 1_000 + CHUNK_BYTES - length) });
}

/** That what `make` keeps holds little more than the bytes of each. */
async function expectLittleHeld(bytes: number, make: (text: string) => Uint8Array): Promise<void> {
  const collect = collector();
  collect();
  const before = process.memoryUsage().arrayBuffers;
  const texts = Array.from({ length: COUNT }, (_, index) => `${index}`.padEnd(bytes, '.'));
  const kept: Uint8Array[] = [];
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
  expect(kept.map((one) => Buffer.from(one).toString())).toEqual(texts);
}

it.each([10, 64, 3_000, 20_000])('as messages of %i bytes, however much else goes by', (bytes) =>
  expectLittleHeld(bytes, (text) => arrivedInChunk(text).kept().body),
);

it('as what a session knows', async () => {
  const { core } = await openTestCore();
  const { session } = await core.sessions.open('s', { clean: true, durable: false });
  let count = 0;
  await expectLittleHeld(20, (text) => {
    session.putState(`${++count}`, Buffer.from(text));
    return session.state.get(`${count}`) as Uint8Array;
  });
  await core.close();
});

it('as the newest batches of logs', async () => {
  const tail = new Tail(new TailBudget(1_000_000));
  let offset = 0;
  await expectLittleHeld(200, (text) => {
    const header = Buffer.alloc(BATCH_HEADER_BYTES);
    header.writeBigInt64BE(BigInt(offset), 0);
    tail.add(Buffer.concat([header, Buffer.from(text)]));
    return tail.read(offset++, 0)!.subarray(BATCH_HEADER_BYTES);
  });
});

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
  const textOf = (bytes: Uint8Array | null): string | null =>
    bytes === null ? null : Buffer.from(bytes).toString();
  kept.forEach((message, index) => {
    expect(textOf(message.body)).toBe(`body ${index}`);
    expect(textOf(message.key)).toBe(index % 3 === 0 ? null : `key ${index}`);
    expect(textOf(message.native)).toBe(`${index}`.repeat(index % 40));
    expect(message.kept()).toBe(message);
  });
});
