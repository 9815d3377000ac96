/** Out to a real Artemis and in from it: what arrives, what is settled and when, and that a killed broker loses nothing. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createAmqp10BridgeDriver } from '../../../adapters/bridge-amqp10/index.ts';
import type { Header } from '../../../src/core/index.ts';
import type { TakeAnswer } from '../../../src/outside.ts';
import { describeWith, pause, waitFor } from '../programs.ts';
import { type Artemis, LOGIN, startArtemis } from './artemis.ts';
import {
  batchOf,
  deliver,
  Gathered,
  type LinkSetup,
  messageOf,
  type OpenedLink,
  openLink,
  receiveHeldBack,
} from './link.ts';

const MEBIBYTE = 1024 * 1024;
const driver = createAmqp10BridgeDriver();

describeWith(['artemis'], 'bridges to Artemis', () => {
  let broker: Artemis;
  beforeAll(async () => {
    broker = await startArtemis();
  });
  afterAll(() => broker?.stop());

  const setup = (options: object = {}, connection: object = {}): LinkSetup => ({
    driver,
    connection: { host: '127.0.0.1', port: broker.port, ...LOGIN, ...connection },
    options,
  });

  async function receive(
    source: string,
    gathered = new Gathered(),
    options: object = { capability: 'queue' },
    more: Partial<LinkSetup> = {},
  ): Promise<OpenedLink & { readonly gathered: Gathered }> {
    const opened = await openLink({ ...setup(options), ...more }, 'in');
    await opened.link.receive([source], gathered);
    return { ...opened, gathered };
  }

  const texts = (count: number): string[] => Array.from({ length: count }, (_, number) => String(number));

  it('sends each message where its address says, and restores all of it', async () => {
    const headers: Header[] = [
      { name: 'big', value: { kind: 'u64', value: 18_446_744_073_709_551_615n } },
      { name: 'small', value: { kind: 'i16', value: -3 } },
      { name: 'again', value: { kind: 'string', value: 'one' } },
      { name: 'again', value: { kind: 'string', value: 'two' } },
    ];
    const sent = messageOf('sensors/room1', '21.5', {
      reliability: 2,
      priority: 7,
      key: Buffer.from('room1'),
      expiresAtMs: Date.now() + 600_000,
      properties: {
        contentType: 'text/plain',
        correlation: { kind: 'string', value: 'c-1' },
        userId: 'ann',
        replyTo: 'answers/here',
        headers,
      },
    });
    const { link, gathered } = await receive('sensors/room1');
    await deliver(setup({ capability: 'queue' }), [sent]);
    await waitFor('the message', () => gathered.messages.length === 1);
    const [came] = gathered.messages;
    expect(came).toMatchObject({ address: 'sensors/room1', reliability: 2, priority: 7 });
    expect(Buffer.from(came!.body).toString()).toBe('21.5');
    expect(Buffer.from(came!.key!).toString()).toBe('room1');
    expect(came!.expiresAtMs).toBeGreaterThan(Date.now());
    expect(came!.properties).toMatchObject({
      contentType: 'text/plain',
      correlation: { kind: 'string', value: 'c-1' },
      replyTo: 'answers/here',
    });
    expect(came!.properties.userId).toBeUndefined();
    // The broker adds annotations of its own.
    expect(came!.properties.headers).toEqual(expect.arrayContaining(headers));
    await link.close();
  });

  it('sends everything to one node where a target is given', async () => {
    const { link, gathered } = await receive('one-node', new Gathered(), {
      capability: 'queue',
      addressFrom: 'source',
    });
    await deliver(setup({ target: 'one-node', capability: 'queue' }), [
      messageOf('a/b', '1'),
      messageOf('c', '2'),
    ]);
    await waitFor('both', () => gathered.messages.length === 2);
    expect(gathered.bodies).toEqual(['1', '2']);
    expect(gathered.messages.map(({ address }) => address)).toEqual(['one-node', 'one-node']);
    await link.close();
    const byTo = await receive('one-node');
    await deliver(setup({ target: 'one-node' }), [messageOf('a/b', '3')]);
    await waitFor('another', () => byTo.gathered.messages.length === 1);
    expect(byTo.gathered.messages[0]!.address).toBe('a/b');
    await byTo.link.close();
  });

  it('loses and reorders nothing when the broker is killed in the middle', { timeout: 240_000 }, async () => {
    const count = 20_000;
    let killed: Promise<void> | null = null;
    const { links } = await deliver(
      setup({ target: 'many', capability: 'queue' }),
      texts(count).map((text) => messageOf('many', text)),
      {
        afterBatch(done) {
          if (done < count / 2 || killed !== null) return;
          killed = broker.kill().then(() => broker.start());
        },
      },
    );
    await killed;
    expect(links).toBeGreaterThan(1);
    const { link, gathered } = await receive('many');
    await waitFor('the last', () => gathered.bodies.at(-1) === String(count - 1), 60_000);
    expect([...new Set(gathered.bodies)]).toEqual(texts(count));
    expect(gathered.messages.length - count).toBeLessThanOrEqual(500 * (links - 1));
    await link.close();
  });

  it('lets the broker send no more bytes than it may hold', async () => {
    const bulk = 'x'.repeat(MEBIBYTE);
    await deliver(
      setup({ target: 'bulk', capability: 'queue' }),
      texts(24).map(() => messageOf('bulk', bulk)),
      { batchMax: 8 },
    );
    const bounded = setup({ capability: 'queue', inFlightBytesMax: 4 * MEBIBYTE });
    const held = await receiveHeldBack(bounded, 'bulk', { count: 24, holdMs: 1000 });
    expect(held).toBeGreaterThanOrEqual(3);
    expect(held).toBeLessThanOrEqual(5);
  });

  it('settles what is stored, keeps to its credit, and gets the rest again', async () => {
    const numbers = texts(300);
    await deliver(
      setup({ target: 'credit', capability: 'queue' }),
      numbers.map((text) => messageOf('credit', text)),
    );
    const held = new Gathered();
    const { promise: stored, resolve } = Promise.withResolvers<void>();
    held.answer = async (): Promise<TakeAnswer> => {
      await stored;
      return 'stored';
    };
    const first = await receive('credit', held, { credit: 50, capability: 'queue' });
    await waitFor('as many as there is credit for', () => held.messages.length === 50);
    await pause(200);
    expect(held.messages).toHaveLength(50);
    const closing = first.link.close();
    resolve();
    await closing;
    const { link, gathered } = await receive('credit');
    await waitFor('the rest', () => gathered.bodies.at(-1) === '299');
    const all = [...held.bodies, ...gathered.bodies];
    expect(new Set(all).size).toBe(300);
    // What was stored while it was closed was settled as well.
    expect(all).toHaveLength(300);
    await link.close();
  });

  it('keeps what is refused and offers it again', async () => {
    await deliver(
      setup({ target: 'refused', capability: 'queue' }),
      texts(5).map((text) => messageOf('refused', text)),
    );
    const gathered = new Gathered();
    const done: string[] = [];
    let refusals = 0;
    gathered.answer = ({ body }) => {
      const text = Buffer.from(body).toString();
      if (text === '1' && refusals++ < 2) return 'refused';
      done.push(text);
      return 'stored';
    };
    const { link } = await receive('refused', gathered);
    await waitFor('all of them', () => done.length === 5);
    expect(done).toEqual(texts(5));
    await link.close();
  });

  it('does not mind an answer that comes after it was closed', async () => {
    await deliver(
      setup({ target: 'late', capability: 'queue' }),
      texts(3).map((text) => messageOf('late', text)),
    );
    const held = new Gathered();
    const { promise: late, resolve } = Promise.withResolvers<void>();
    held.answer = async (): Promise<TakeAnswer> => {
      await late;
      return 'stored';
    };
    const first = await receive('late', held);
    await waitFor('them', () => held.messages.length === 3);
    await first.link.close();
    resolve();
    await pause(50);
    const { link, gathered } = await receive('late');
    await waitFor('them again', () => gathered.messages.length === 3);
    await link.close();
  });

  it('keeps a durable subscription while it is away', async () => {
    const options = { capability: 'topic', durable: true };
    const first = await receive('news', new Gathered(), options);
    await first.link.close();
    await deliver(setup({ target: 'news', capability: 'topic' }), [messageOf('news', 'meanwhile')]);
    const { link, gathered } = await receive('news', new Gathered(), options);
    await waitFor('the message', () => gathered.messages.length === 1);
    expect(gathered.bodies).toEqual(['meanwhile']);
    await link.close();
  });

  it('is lost when the broker goes', async () => {
    const { link, lost } = await receive('going');
    await broker.kill();
    expect(await lost).toMatchObject({ failure: 'closed' });
    await link.close();
    await broker.start();
  });

  it('sends without waiting where messages may be lost', async () => {
    const { link, gathered } = await receive('lossy');
    const messages = texts(2000).map((text) => messageOf('lossy', text));
    await deliver({ ...setup({ target: 'lossy' }), delivery: 'at-most-once' }, messages);
    await waitFor('all of them', () => gathered.messages.length === 2000);
    expect(gathered.bodies).toEqual(texts(2000));
    await link.close();
  });

  it('says that the password is wrong, without it', async () => {
    const error = await openLink(setup({}, { password: 'correct horse' }), 'out').then(
      () => expect.unreachable(),
      (reason: Error) => reason,
    );
    expect(error).toMatchObject({ failure: 'authentication' });
    expect(`${error.message} ${error.stack}`).not.toContain('horse');
  });

  it('answers in the order of the batch', async () => {
    const { link } = await openLink(setup({ target: 'ordered', capability: 'queue' }), 'out');
    const batch = batchOf(texts(1500).map((text) => messageOf('ordered', text)));
    expect(await link.send(batch)).toEqual(batch.map(() => null));
    await link.close();
    await link.close();
  });
});
