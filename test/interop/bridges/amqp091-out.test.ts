/** Out to a real RabbitMQ: what arrives, what is not taken and why, and that nothing is lost when the broker is. */
import { type ChannelModel, type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { createAmqp091BridgeDriver } from '../../../adapters/bridge-amqp091/index.ts';
import { describeWith, waitFor } from '../programs.ts';
import { batchOf, deliver, type LinkSetup, messageOf, openLink } from './link.ts';
import { type RabbitMq, startRabbitMq } from './rabbitmq.ts';

const driver = createAmqp091BridgeDriver();

describeWith(['rabbitmq'], 'a bridge out to RabbitMQ', () => {
  let broker: RabbitMq;
  let reader: ChannelModel;
  let channel: ConfirmChannel;
  beforeAll(async () => {
    broker = await startRabbitMq();
  });
  afterAll(() => broker?.stop());

  const openReader = async (): Promise<void> => {
    reader = await connect(`amqp://127.0.0.1:${broker.port}`);
    reader.on('error', () => {});
    channel = await reader.createConfirmChannel();
    channel.on('error', () => {});
  };
  beforeEach(openReader);
  afterEach(() => reader.close().catch(() => {}));

  const setup = (options: object = {}, connection: object = {}): LinkSetup => ({
    driver,
    connection: { host: '127.0.0.1', port: broker.port, ...connection },
    options,
  });

  /** Reads a queue until it has had `count` messages, or is as it is. */
  async function readQueue(queue: string, count: number): Promise<ConsumeMessage[]> {
    const found: ConsumeMessage[] = [];
    const { consumerTag } = await channel.consume(queue, (message) => found.push(message!), { noAck: true });
    await waitFor(`${count} messages in ${queue}`, () => found.length >= count);
    await channel.cancel(consumerTag);
    return found;
  }

  const textsOf = (messages: readonly ConsumeMessage[]): string[] =>
    messages.map(({ content }) => content.toString());

  async function makeQueue(queue: string, exchange: string, key: string): Promise<void> {
    await channel.assertQueue(queue, { durable: true });
    await channel.bindQueue(queue, exchange, key);
  }

  it('publishes whole addresses to amq.topic, with properties and typed headers', async () => {
    await makeQueue('all', 'amq.topic', 'sensors.#');
    const { link } = await openLink(setup(), 'out');
    const message = messageOf('sensors/room1/temp.c', '21.5', {
      priority: 3,
      key: Buffer.from('room1'),
      expiresAtMs: Date.now() + 600_000,
      properties: {
        contentType: 'text/plain',
        correlation: { kind: 'string', value: 'c-1' },
        userId: 'ann',
        headers: [
          { name: 'gw-path', value: { kind: 'string', value: 'abc' } },
          { name: '7', value: { kind: 'i16', value: -2 } },
          { name: 'big', value: { kind: 'i64', value: 9_007_199_254_740_993n } },
        ],
      },
    });
    const transient = messageOf('sensors/a', 'transient', { reliability: 0 });
    expect(await link.send(batchOf([message, transient]))).toEqual([null, null]);
    const [first, second] = await readQueue('all', 2);
    expect(first!.fields).toMatchObject({ exchange: 'amq.topic', routingKey: 'sensors.room1.temp/c' });
    expect(first!.properties).toMatchObject({
      contentType: 'text/plain',
      correlationId: 'c-1',
      deliveryMode: 2,
      priority: 3,
      userId: undefined, // the broker would refuse a name that is not the login's
    });
    expect(Number(first!.properties.expiration)).toBeGreaterThan(500_000);
    expect(first!.properties.headers).toMatchObject({ 'gw-path': 'abc', 7: -2 });
    expect(second!.properties.deliveryMode).toBe(1);
    await link.close();
  });

  it('names exchanges and queues as its options say', async () => {
    await channel.assertExchange('orders', 'topic');
    await channel.assertExchange('everything', 'topic');
    await makeQueue('by-level', 'orders', 'eu.*');
    await makeQueue('by-name', 'everything', 'orders.eu.*');
    await channel.assertQueue('jobs.eu', { durable: true });
    const publish = async (exchange: string, address: string): Promise<void> => {
      const { link } = await openLink(setup({ exchange, unroutable: 'wait' }), 'out');
      expect(await link.send(batchOf([messageOf(address, exchange)]))).toEqual([null]);
      await link.close();
    };
    await publish('from-address', 'orders/eu/new');
    await publish('everything', 'orders/eu/new');
    await publish('', 'jobs/eu');
    await publish('', '$queue/jobs.eu');
    expect((await readQueue('by-level', 1))[0]!.fields.routingKey).toBe('eu.new');
    expect((await readQueue('by-name', 1))[0]!.fields.exchange).toBe('everything');
    expect(await readQueue('jobs.eu', 2)).toHaveLength(2);
  });

  it('declares what its options say', async () => {
    const declare = {
      exchanges: [{ name: 'made', type: 'direct' }],
      queues: [
        {
          name: 'made-queue',
          arguments: { 'x-queue-type': 'quorum' },
          bind: [{ exchange: 'made', key: 'a' }],
        },
      ],
    };
    const { link } = await openLink(setup({ exchange: 'made', declare, unroutable: 'wait' }), 'out');
    expect(await link.send(batchOf([messageOf('a', 'one')]))).toEqual([null]);
    await link.close();
    expect(textsOf(await readQueue('made-queue', 1))).toEqual(['one']);
    const other = { exchanges: [{ name: 'made', type: 'topic' }] };
    await expect(openLink(setup({ declare: other }), 'out')).rejects.toMatchObject({
      failure: 'protocol',
      message: expect.stringMatching(/exchange "made".*inequivalent arg 'type'/),
    });
  });

  it('declares nothing for a trial, and says what would be missing', async () => {
    const declare = {
      exchanges: [{ name: 'tried' }],
      queues: [
        { name: 'tried-queue', bind: [{ exchange: 'tried' }, { exchange: 'amq.topic', key: 'tried' }] },
      ],
    };
    const trial = await openLink({ ...setup({ declare }), isTrial: true }, 'out');
    await trial.link.close();
    const looker = await reader.createChannel();
    looker.on('error', () => {});
    await expect(looker.checkQueue('tried-queue')).rejects.toThrow(/NOT_FOUND/);
    const nowhere = { queues: [{ name: 'tried-queue', bind: [{ exchange: 'nowhere' }] }] };
    await expect(openLink({ ...setup({ declare: nowhere }), isTrial: true }, 'out')).rejects.toMatchObject({
      failure: 'no-target',
      message: expect.stringContaining('exchange "nowhere"'),
    });
  });

  it('says that an exchange is missing, and goes on when it appears', async () => {
    const { link, lost } = await openLink(setup({ exchange: 'later' }), 'out');
    let isLost = false;
    void lost.then(() => {
      isLost = true;
    });
    const batch = batchOf([messageOf('a', '1'), messageOf('a', '2')]);
    for (let round = 0; round < 3; round++) {
      const answers = await link.send(batch);
      for (const answer of answers) {
        expect(answer).toMatchObject({
          permanent: false,
          reason: expect.stringContaining("no exchange 'later'"),
        });
      }
    }
    await channel.assertExchange('later', 'topic');
    await makeQueue('later-queue', 'later', '#');
    expect(await link.send(batch)).toEqual([null, null]);
    expect(isLost).toBe(false);
    await link.close();
    expect(textsOf(await readQueue('later-queue', 2))).toEqual(['1', '2']);
  });

  it('tells the message that closes the channel from those beside it', async () => {
    await makeQueue('mixed', 'amq.topic', 'mixed.#');
    const messages = Array.from({ length: 20 }, (_, number) =>
      messageOf('mixed/a', String(number), {
        // RabbitMQ takes a header CC only as a list, and closes the channel otherwise.
        properties: { headers: number === 7 ? [{ name: 'CC', value: { kind: 'string', value: 'x' } }] : [] },
      }),
    );
    const { refused, links } = await deliver(setup(), messages, { batchMax: 20 });
    expect(refused).toEqual([7]);
    expect(links).toBe(1);
    const texts = textsOf(await readQueue('mixed', 19));
    const expected = messages.map((_, number) => String(number)).filter((text) => text !== '7');
    expect([...new Set(texts)]).toEqual(expected);
  });

  it('waits, gives up or lets go where no queue takes a message', async () => {
    await makeQueue('taken', 'amq.topic', 'taken');
    const batch = batchOf([messageOf('nobody', 'a'), messageOf('taken', 'b'), messageOf('nobody', 'a')]);
    const answersWith = async (unroutable: string) => {
      const { link } = await openLink(setup({ unroutable }), 'out');
      const answers = await link.send(batch);
      await link.close();
      return answers;
    };
    const unroutable = { reason: expect.stringMatching(/key "nobody" of exchange "amq.topic"/) };
    const waits = { ...unroutable, permanent: false };
    expect(await answersWith('wait')).toEqual([waits, null, waits]);
    const gone = { ...unroutable, permanent: true };
    expect(await answersWith('dead-letter')).toEqual([gone, null, gone]);
    expect(await answersWith('drop')).toEqual([null, null, null]);
  });

  it('loses and reorders nothing when the broker is killed in the middle', { timeout: 240_000 }, async () => {
    await makeQueue('many', 'amq.topic', 'many');
    const count = 50_000;
    const messages = Array.from({ length: count }, (_, number) => messageOf('many', String(number)));
    let killed: Promise<void> | null = null;
    const { links } = await deliver(setup(), messages, {
      afterBatch(done) {
        if (done < count / 2 || killed !== null) return;
        killed = broker.kill().then(() => broker.start());
      },
    });
    await killed;
    expect(links).toBeGreaterThan(1);
    await reader.close().catch(() => {});
    await openReader();
    const numbers: number[] = [];
    let last = -1;
    let isDone = false;
    await channel.consume(
      'many',
      (message) => {
        const number = Number(message!.content.toString());
        numbers.push(number);
        last = Math.max(last, number);
        isDone ||= number === count - 1;
      },
      { noAck: true },
    );
    await waitFor('the last message', () => isDone, 60_000);
    const firsts = [...new Set(numbers)];
    expect(firsts).toHaveLength(count);
    expect(firsts.every((number, at) => number === at)).toBe(true);
    // Only what was under way when the broker was killed comes twice.
    expect(numbers.length - count).toBeLessThanOrEqual(500 * (links - 1));
  });

  it('sends each message once while the link holds', async () => {
    await makeQueue('once', 'amq.topic', 'once');
    const messages = Array.from({ length: 5000 }, (_, number) => messageOf('once', String(number)));
    expect((await deliver(setup(), messages)).links).toBe(1);
    const { messageCount } = await channel.checkQueue('once');
    expect(messageCount).toBe(5000);
  });

  it('holds while the broker is out of memory, and sends nothing twice afterwards', async () => {
    await makeQueue('alarm', 'amq.topic', 'alarm');
    const messages = Array.from({ length: 2000 }, (_, number) =>
      messageOf('alarm', String(number), { properties: { headers: [] } }),
    );
    let relief: Promise<unknown> | null = null;
    let isAlarmed = false;
    const outcome = await deliver(setup({ confirmTimeoutMs: 1000 }), messages, {
      batchMax: 100,
      async afterBatch(done) {
        if (done >= 500 && !isAlarmed) {
          isAlarmed = true;
          await broker.control('set_vm_memory_high_watermark', '0');
          // Longer than the broker has to confirm when it is well.
          relief = new Promise((resolve) => setTimeout(resolve, 3000)).then(() =>
            broker.control('set_vm_memory_high_watermark', '0.4'),
          );
        }
      },
    });
    await relief;
    expect([...outcome.reasons]).toEqual([expect.stringContaining('low on memory')]);
    expect(outcome.links).toBe(1);
    expect(textsOf(await readQueue('alarm', 2000))).toEqual(messages.map((_, number) => String(number)));
  });

  it('waits for no answer where messages may be lost', async () => {
    await makeQueue('lossy', 'amq.topic', 'lossy');
    const messages = Array.from({ length: 3000 }, (_, number) => messageOf('lossy', String(number)));
    await deliver({ ...setup(), delivery: 'at-most-once' }, messages);
    expect(textsOf(await readQueue('lossy', 3000))).toEqual(messages.map((_, number) => String(number)));
  });
});
