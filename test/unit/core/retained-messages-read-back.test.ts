/** What an address remembers is what was published last, whoever published it and however large it is, also after a restart. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { type Core, MANY, type Message, type MessageFields, Pattern } from '../../../src/core/index.ts';
import { messageTo, openTestCore } from '../../support/core.ts';

type Opened = Awaited<ReturnType<typeof openTestCore>>;

const publisherOf = ({ core }: Opened) =>
  core.openPublisher({
    principal: { user: '', groups: [], clientId: 'c' },
    congested: () => undefined,
  });

const remembered = (core: Core): Message[] => [...core.retained.match(new Pattern([MANY]))];

const tell = ({ address, body, publisherId, priority, key, properties, expiresAtMs }: Message) => ({
  address,
  body: Buffer.from(body).toString('latin1'),
  publisherId,
  priority,
  key: key === null ? null : Buffer.from(key).toString('latin1'),
  headers: properties.headers,
  expiresAtMs,
});

const LARGE = 'x'.repeat(10_000);

/** Each is published to the same address, and is what is remembered then. */
const SEQUENCE: readonly (readonly [body: string, fields: Partial<MessageFields>])[] = [
  ['one', { publisherId: 'first' }],
  ['another', { publisherId: 'first' }],
  ['of another', { publisherId: 'the second, with a longer name' }],
  [LARGE, { publisherId: 'the second, with a longer name', priority: 7 }],
  ['small', { publisherId: 'é', key: Buffer.from('key') }],
  ['smaller', { publisherId: 'é', expiresAtMs: 4_000_000_000_000 }],
  ['s', { properties: { headers: [{ name: 'h', value: { kind: 'u8', value: 1 } }] } }],
  [LARGE.slice(1), {}],
  ['last', { publisherId: 'first' }],
];

it('is the last one each time', async () => {
  const opened = await openTestCore();
  const publisher = publisherOf(opened);
  for (const [body, fields] of SEQUENCE) {
    const message = messageTo('a/ü', body, { retain: true, reliability: 1, ...fields });
    publisher.publish(message, null, 0);
    expect(remembered(opened.core).map(tell)).toEqual([tell(message)]);
  }
  await opened.core.close();
});

it('is what was published after it was forgotten, too', async () => {
  const opened = await openTestCore();
  const { retained } = opened.core;
  const publisher = publisherOf(opened);
  const forgetting = [
    () => retained.forget('a/b'),
    () => publisher.publish(messageTo('a/b', '', { retain: true }), null, 0),
  ];
  for (const [index, forget] of [...forgetting, ...forgetting].entries()) {
    const message = messageTo('a/b', `${index}`, { retain: true, reliability: 1 });
    for (let times = 2; times > 0; times--) {
      publisher.publish(message, null, 0);
      expect(remembered(opened.core).map(tell)).toEqual([tell(message)]);
      expect(retained.count).toBe(1);
    }
    forget();
    expect(remembered(opened.core)).toEqual([]);
    expect(retained.count).toBe(0);
  }
  await opened.core.close();
});

it('is not changed for whoever has it already', async () => {
  const opened = await openTestCore();
  const publisher = publisherOf(opened);
  publisher.publish(messageTo('a', 'before', { retain: true, reliability: 1 }), null, 0);
  const [had] = remembered(opened.core).map((message) => ({ message, told: tell(message) }));
  publisher.publish(messageTo('a', 'behind', { retain: true, reliability: 1 }), null, 0);
  expect(tell(had!.message)).toEqual(had!.told);
  await opened.core.close();
});

it('is there after a restart, also where it was forgotten in between', async () => {
  const opened = await openTestCore();
  const publisher = publisherOf(opened);
  const publish = (body: string, fields: Partial<MessageFields>) => {
    const message = messageTo('a', body, { retain: true, reliability: 1, ...fields });
    publisher.publish(message, null, 0);
    return message;
  };
  publish('one', { publisherId: 'first' });
  expect(opened.core.retained.forget('a')).toBe(true);
  publish('two', { publisherId: 'second' });
  const last = publish('three', { publisherId: 'second', priority: 3 });
  await opened.clock.turn();
  const again = await openTestCore({ storage: opened.storage.afterCrash() });
  expect(remembered(again.core).map(tell)).toEqual([tell(last)]);
  // And goes on from there.
  const next = messageTo('a', 'next', { retain: true, reliability: 1, publisherId: 'second' });
  publisherOf(again).publish(next, null, 0);
  expect(remembered(again.core).map(tell)).toEqual([tell(next)]);
  await again.core.close();
});

it('holds no more memory than its own', async () => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const opened = await openTestCore();
  const publisher = publisherOf(opened);
  // The log of this test keeps what it is given for good, and is not what is measured.
  const log = opened.storage.createRowLog('retained');
  const append = log.append.bind(log);
  log.append = (row) => append(new Uint8Array(row));
  collect();
  const before = process.memoryUsage().arrayBuffers;
  const TOPICS = 500;
  for (let topic = 0; topic < TOPICS; topic++) {
    publisher.publish(messageTo(`t/${topic}`, 'x'.repeat(64), { retain: true, reliability: 0 }), null, 0);
    // What others take of the pieces of memory that buffers share.
    for (let taken = 0; taken < 64; taken++) Buffer.allocUnsafe(1_000);
  }
  await opened.clock.turn();
  await expect
    .poll(() => {
      collect();
      return process.memoryUsage().arrayBuffers - before;
    })
    .toBeLessThan(TOPICS * 8_192);
  expect(opened.core.retained.count).toBe(TOPICS);
  await opened.core.close();
});
