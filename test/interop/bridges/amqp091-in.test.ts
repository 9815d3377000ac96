/** In from a real RabbitMQ: what messages become, when they are acknowledged, and what ends the link. */
import { type ChannelModel, type ConfirmChannel, connect } from 'amqplib';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { createAmqp091BridgeDriver } from '../../../adapters/bridge-amqp091/index.ts';
import type { Header } from '../../../src/core/index.ts';
import type { TakeAnswer } from '../../../src/outside.ts';
import { describeWith, pause, waitFor } from '../programs.ts';
import { batchOf, deliver, Gathered, type LinkSetup, messageOf, openLink, receiveHeldBack } from './link.ts';
import { type RabbitMq, startRabbitMq } from './rabbitmq.ts';

const MEBIBYTE = 1024 * 1024;
const driver = createAmqp091BridgeDriver();

describeWith(['rabbitmq'], 'a bridge in from RabbitMQ', () => {
  let broker: RabbitMq;
  let writer: ChannelModel;
  let channel: ConfirmChannel;
  beforeAll(async () => {
    broker = await startRabbitMq();
  });
  afterAll(() => broker?.stop());

  const openWriter = async (): Promise<void> => {
    writer = await connect(`amqp://127.0.0.1:${broker.port}`);
    writer.on('error', () => {});
    channel = await writer.createConfirmChannel();
    channel.on('error', () => {});
  };
  beforeEach(openWriter);
  afterEach(() => writer.close().catch(() => {}));

  const setup = (options: object = {}): LinkSetup => ({
    driver,
    connection: { host: '127.0.0.1', port: broker.port },
    options,
  });

  async function fill(queue: string, count: number, persistent = true): Promise<void> {
    await channel.assertQueue(queue, { durable: true });
    for (let number = 0; number < count; number++) {
      channel.sendToQueue(queue, Buffer.from(String(number)), { persistent });
    }
    await channel.waitForConfirms();
  }

  const depthOf = async (queue: string): Promise<number> => (await channel.checkQueue(queue)).messageCount;

  it('rejects what is larger than it takes, to the dead letters there, and nothing beside it', async () => {
    await channel.assertQueue('too-large', { durable: true });
    await channel.assertQueue('large', {
      durable: true,
      deadLetterExchange: '',
      deadLetterRoutingKey: 'too-large',
    });
    const { link, lost } = await openLink(setup({ messageBytesMax: 300_000 }), 'in');
    const gathered = new Gathered();
    await link.receive(['large'], gathered);
    // In one frame, in several, and one with as much as it takes.
    const sizes = [10, 300_001, 300_000, 1_000_000, 0, 20];
    for (const size of sizes) channel.sendToQueue('large', Buffer.alloc(size, 'x'));
    await channel.waitForConfirms();
    await waitFor('the last', () => gathered.messages.length === 4);
    expect(gathered.messages.map(({ body }) => body.length)).toEqual([10, 300_000, 0, 20]);
    await waitFor('the large ones', async () => (await depthOf('too-large')) === 2);
    await link.close();
    expect(await depthOf('large')).toBe(0);
    expect(await Promise.race([lost, pause(0)])).toBeUndefined();
  });

  it('gives messages their address and everything that they say', async () => {
    const declare = {
      queues: [{ name: 'inbound', bind: [{ exchange: 'amq.topic', key: 'sensors.#' }] }],
    };
    const { link } = await openLink(setup({ declare }), 'in');
    const gathered = new Gathered();
    await link.receive(['inbound'], gathered);
    channel.publish('amq.topic', 'sensors.room1.temp/c', Buffer.from('21.5'), {
      persistent: true,
      priority: 5,
      contentType: 'text/plain',
      correlationId: 'c-1',
      messageId: 'm-1',
      timestamp: 1_700_000_000,
      expiration: '60000',
      headers: {
        9: { '!': 'int16', value: 7 },
        1: { '!': 'int64', value: 9_007_199_254_740_993n },
        text: 'grün',
        when: { '!': 'timestamp', value: 1_700_000_000 },
        list: [true, null, { '!': 'float', value: 0.5 }],
      },
    });
    await waitFor('the message', () => gathered.messages.length === 1);
    const [message] = gathered.messages;
    expect(message).toMatchObject({ address: 'sensors/room1/temp.c', reliability: 1, priority: 5 });
    expect(message!.expiresAtMs).toBeGreaterThan(Date.now());
    expect(message!.properties).toMatchObject({
      contentType: 'text/plain',
      correlation: { kind: 'string', value: 'c-1' },
      messageId: { kind: 'string', value: 'm-1' },
      timestampMs: 1_700_000_000_000,
      headers: expect.arrayContaining([
        { name: '9', value: { kind: 'i16', value: 7 } },
        { name: '1', value: { kind: 'i64', value: 9_007_199_254_740_993n } },
        { name: 'text', value: { kind: 'string', value: 'grün' } },
        { name: 'when', value: { kind: 'timestamp', value: 1_700_000_000_000, seconds: true } },
      ]),
    });
    await link.close();
  });

  it('restores a message that another bridge sent there', async () => {
    const declare = { queues: [{ name: 'passed', bind: [{ exchange: 'amq.topic', key: 'passed.#' }] }] };
    const headers: Header[] = [
      { name: '2', value: { kind: 'string', value: 'second' } },
      { name: '1', value: { kind: 'string', value: 'first' } },
      { name: '2', value: { kind: 'u16', value: 3 } },
      { name: 'id', value: { kind: 'uuid', value: '00112233-4455-6677-8899-aabbccddeeff' } },
    ];
    const sent = messageOf(`passed/${'long/'.repeat(60)}end`, 'body', {
      reliability: 2,
      retain: true,
      key: Buffer.from([0xff, 0]),
      properties: {
        headers,
        textBody: true,
        replyTo: 'answers/here',
        correlation: { kind: 'bytes', value: Buffer.of(0xff) },
      },
    });
    const { link } = await openLink(setup({ declare }), 'in');
    const gathered = new Gathered();
    await link.receive(['passed'], gathered);
    await channel.bindQueue('passed', 'amq.topic', 'amq.gw.address');
    await deliver(setup({ unroutable: 'wait' }), [sent]);
    await waitFor('the message', () => gathered.messages.length === 1);
    const [came] = gathered.messages;
    expect(came).toMatchObject({ address: sent.address, reliability: 2, retain: true });
    expect(Buffer.from(came!.key!)).toEqual(sent.key);
    expect(came!.properties.headers).toEqual(headers);
    expect(came!.properties).toMatchObject({ textBody: true, replyTo: 'answers/here' });
    await link.close();
  });

  it('takes the name of the queue for the address where it is told to', async () => {
    await fill('jobs.eu', 1);
    const addressOf = async (addressFrom: string): Promise<string> => {
      const { link } = await openLink(setup({ addressFrom }), 'in');
      const gathered = new Gathered();
      gathered.answer = () => 'refused';
      await link.receive(['jobs.eu'], gathered);
      await waitFor('the message', () => gathered.messages.length > 0);
      await link.close();
      return gathered.messages[0]!.address;
    };
    expect(await addressOf('queue')).toBe('jobs/eu');
    expect(await addressOf('key')).toBe('$queue/jobs.eu');
  });

  it('acknowledges what is stored, and nothing before', async () => {
    await fill('slowly', 300);
    const { link } = await openLink({ ...setup({ prefetch: 500 }), inFlightMax: 100 }, 'in');
    const gathered = new Gathered();
    const { promise: stored, resolve } = Promise.withResolvers<void>();
    gathered.answer = async (): Promise<TakeAnswer> => {
      await stored;
      return 'stored';
    };
    await link.receive(['slowly'], gathered);
    await waitFor('as many as may be in flight', () => gathered.messages.length === 100);
    await pause(200);
    expect(gathered.messages).toHaveLength(100);
    expect(await depthOf('slowly')).toBe(200);
    resolve();
    await waitFor('all of them', () => gathered.messages.length === 300);
    await link.close();
    expect(await depthOf('slowly')).toBe(0);
    expect(gathered.bodies).toEqual(Array.from({ length: 300 }, (_, number) => String(number)));
  });

  it('holds no more bytes than it may, and the connection longer than a heartbeat', async () => {
    await channel.assertQueue('bulk', { durable: true });
    for (let number = 0; number < 24; number++) channel.sendToQueue('bulk', Buffer.alloc(MEBIBYTE));
    await channel.waitForConfirms();
    const bounded = setup({ inFlightBytesMax: 4 * MEBIBYTE });
    const connection = { ...bounded.connection, heartbeatSeconds: 1 };
    const held = await receiveHeldBack({ ...bounded, connection }, 'bulk', { count: 24, holdMs: 4000 });
    expect(held).toBe(4);
    expect(await depthOf('bulk')).toBe(0);
  });

  it('keeps what is refused and offers it again, before what was behind it', async () => {
    await fill('refused', 20);
    const { link } = await openLink({ ...setup(), inFlightMax: 5 }, 'in');
    const gathered = new Gathered();
    const done: string[] = [];
    let refusals = 0;
    gathered.answer = ({ body }) => {
      const number = Number(Buffer.from(body).toString());
      if (number === 3 && refusals < 2) {
        refusals++;
        return 'refused';
      }
      done.push(String(number));
      return 'stored';
    };
    await link.receive(['refused'], gathered);
    await waitFor('all of them', () => done.length === 20);
    expect(done).toEqual(Array.from({ length: 20 }, (_, number) => String(number)));
    await link.close();
    expect(await depthOf('refused')).toBe(0);
  });

  it('loses nothing when the connection is cut, and what was not acknowledged comes again', async () => {
    await fill('cut', 1000);
    const seen = new Set<string>();
    const receive = async (): Promise<Error> => {
      const { link, lost } = await openLink({ ...setup(), inFlightMax: 50 }, 'in');
      const gathered = new Gathered();
      gathered.answer = async ({ body }): Promise<TakeAnswer> => {
        await pause(1);
        seen.add(Buffer.from(body).toString());
        return 'stored';
      };
      await link.receive(['cut'], gathered);
      await waitFor('some of them', () => seen.size >= 200);
      await broker.control('close_all_connections', 'test');
      const error = await lost;
      await link.close();
      return error;
    };
    expect(await receive()).toMatchObject({ failure: 'closed', message: expect.stringContaining('test') });
    // The queue takes back what the connection had when it hears of its end, which may be later than the bridge does.
    await openWriter();
    await waitFor(
      'what was not acknowledged',
      async () => (await channel.checkQueue('cut')).consumerCount === 0,
    );
    const { link } = await openLink(setup(), 'in');
    const rest = new Gathered();
    rest.answer = ({ body }) => {
      seen.add(Buffer.from(body).toString());
      return 'stored';
    };
    await link.receive(['cut'], rest);
    await waitFor('the rest', () => seen.size === 1000);
    await waitFor('what comes again', async () => (await depthOf('cut')) === 0);
    await link.close();
    expect(await depthOf('cut')).toBe(0);
  });

  it('reads several queues within one bound', async () => {
    await fill('one', 50);
    await fill('two', 50);
    const { link } = await openLink({ ...setup(), inFlightMax: 10 }, 'in');
    const gathered = new Gathered();
    let inFlight = 0;
    let most = 0;
    gathered.answer = async (): Promise<TakeAnswer> => {
      most = Math.max(most, ++inFlight);
      await pause(1);
      inFlight--;
      return 'stored';
    };
    await link.receive(['one', 'two'], gathered);
    await waitFor('all of them', () => gathered.messages.length === 100);
    expect(most).toBeLessThanOrEqual(10);
    await link.close();
  });

  it('says that a queue is missing, or was deleted under it', async () => {
    const first = await openLink(setup(), 'in');
    await expect(first.link.receive(['nowhere'], new Gathered())).rejects.toMatchObject({
      failure: 'no-target',
      message: expect.stringMatching(/queue "nowhere".*NOT_FOUND/),
    });
    await first.link.close();
    await channel.assertQueue('soon-gone');
    const { link, lost } = await openLink(setup(), 'in');
    await link.receive(['soon-gone'], new Gathered());
    await channel.deleteQueue('soon-gone');
    expect(await lost).toMatchObject({ failure: 'no-target', message: expect.stringContaining('soon-gone') });
    await link.close();
  });

  it('forgets what may be lost as soon as it is handed on', async () => {
    await fill('lossy-in', 10);
    const { link } = await openLink({ ...setup(), delivery: 'at-most-once' }, 'in');
    const gathered = new Gathered();
    gathered.answer = () => 'refused';
    await link.receive(['lossy-in'], gathered);
    await waitFor('all of them', () => gathered.messages.length === 10);
    await link.close();
    expect(await depthOf('lossy-in')).toBe(0);
  });

  it('finishes what is under way when it is closed', async () => {
    await fill('closing', 100);
    const { link } = await openLink({ ...setup(), inFlightMax: 20 }, 'in');
    const gathered = new Gathered();
    let stored = 0;
    gathered.answer = async (): Promise<TakeAnswer> => {
      await pause(2);
      stored++;
      return 'stored';
    };
    await link.receive(['closing'], gathered);
    await waitFor('some of them', () => gathered.messages.length > 0);
    await link.close();
    expect(await depthOf('closing')).toBe(100 - stored);
    await link.send(batchOf([])).then(
      () => expect.unreachable(),
      (error: Error) => expect(error.message).toBe('this link receives'),
    );
  });
});
