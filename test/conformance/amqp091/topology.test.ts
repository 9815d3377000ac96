import amqp, { type Channel, type ChannelModel } from 'amqplib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Broker, startBroker } from './broker.ts';

let broker: Broker;
let client: ChannelModel;
let channel: Channel;

beforeAll(async () => {
  broker = await startBroker();
});
afterAll(async () => {
  await broker.close();
  expect(broker.errors).toEqual([]);
});
beforeEach(async () => {
  client = await amqp.connect(broker.url);
  channel = await client.createChannel();
});
afterEach(() => client.close().catch(() => {}));

async function drain(queue: string): Promise<string[]> {
  const bodies: string[] = [];
  for (
    let message = await channel.get(queue, { noAck: true });
    message !== false;
    message = await channel.get(queue, { noAck: true })
  ) {
    bodies.push(message.content.toString());
  }
  return bodies;
}

/** The code with which the server answers, after which the channel is gone. */
async function codeOf(work: (channel: Channel) => Promise<unknown>): Promise<string> {
  const probe = await client.createChannel();
  const closed = new Promise<Error>((resolve) => probe.once('error', resolve));
  await work(probe).catch(() => {});
  const error = await Promise.race([
    closed,
    new Promise<Error>((resolve) => setTimeout(() => resolve(new Error('no error')), 500)),
  ]);
  return /with message "(.*)"/.exec(error.message)?.[1] ?? error.message;
}

describe('exchanges', () => {
  test('direct: the key, exactly', async () => {
    await channel.assertExchange('d', 'direct', { autoDelete: true });
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'd', 'a.*');
    await channel.bindQueue(queue, 'd', '');
    for (const key of ['a.*', 'a.b', '', 'a']) channel.publish('d', key, Buffer.from(key));
    await channel.checkQueue(queue);
    expect(await drain(queue)).toEqual(['a.*', '']);
  });

  test('fanout: everything, once however often bound', async () => {
    await channel.assertExchange('f', 'fanout', { autoDelete: true });
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'f', 'ignored');
    await channel.bindQueue(queue, 'f', 'also');
    channel.publish('f', '', Buffer.from('1'));
    channel.publish('f', 'x.y.z', Buffer.from('2'));
    await channel.checkQueue(queue);
    expect(await drain(queue)).toEqual(['1', '2']);
  });

  test('topic: words, with # anywhere', async () => {
    await channel.assertExchange('t', 'topic', { autoDelete: true });
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 't', 'a.#.z');
    await channel.bindQueue(queue, 't', '*.b');
    for (const key of ['a.z', 'a.b.c.z', 'a.z.q', 'x.b', 'x.y.b', 'a.b']) {
      channel.publish('t', key, Buffer.from(key));
    }
    await channel.checkQueue(queue);
    expect(await drain(queue)).toEqual(['a.z', 'a.b.c.z', 'x.b', 'a.b']);
  });

  test('headers: all or any of them', async () => {
    await channel.assertExchange('h', 'headers', { autoDelete: true });
    const all = await channel.assertQueue('', { exclusive: true });
    const any = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(all.queue, 'h', '', { 'x-match': 'all', a: 1, b: 'x' });
    await channel.bindQueue(any.queue, 'h', '', { 'x-match': 'any', a: 1, b: 'x' });
    channel.publish('h', 'k', Buffer.from('both'), { headers: { a: 1, b: 'x', c: true } });
    channel.publish('h', 'k', Buffer.from('one'), { headers: { a: 1 } });
    channel.publish('h', 'k', Buffer.from('none'), { headers: { a: 2 } });
    await channel.checkQueue(all.queue);
    expect(await drain(all.queue)).toEqual(['both']);
    expect(await drain(any.queue)).toEqual(['both', 'one']);
  });

  test('bindings from exchange to exchange, in a circle as well', async () => {
    await channel.assertExchange('outer', 'topic');
    await channel.assertExchange('inner', 'direct');
    await channel.bindExchange('inner', 'outer', 'eu.#');
    await channel.bindExchange('outer', 'inner', '#');
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'inner', 'eu.new');
    channel.publish('outer', 'eu.new', Buffer.from('1'));
    channel.publish('outer', 'us.new', Buffer.from('2'));
    await channel.checkQueue(queue);
    expect(await drain(queue)).toEqual(['1']);
    await channel.unbindExchange('inner', 'outer', 'eu.#');
    channel.publish('outer', 'eu.new', Buffer.from('3'));
    await channel.checkQueue(queue);
    expect(await drain(queue)).toEqual([]);
    await channel.deleteExchange('outer');
    await channel.deleteExchange('inner');
  });

  test('what nothing took goes to the alternate exchange', async () => {
    await channel.assertExchange('unrouted', 'fanout');
    await channel.assertExchange('main', 'direct', { alternateExchange: 'unrouted' });
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'unrouted', '');
    channel.publish('main', 'nowhere', Buffer.from('x'));
    await channel.checkQueue(queue);
    expect(await drain(queue)).toEqual(['x']);
    await channel.deleteExchange('main');
    await channel.deleteExchange('unrouted');
  });

  test('an auto-delete exchange goes with its last binding', async () => {
    await channel.assertExchange('gone', 'fanout', { autoDelete: true });
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'gone', '');
    await channel.unbindQueue(queue, 'gone', '');
    expect(await codeOf((probe) => probe.checkExchange('gone'))).toBe(
      "NOT_FOUND - no exchange 'gone' in vhost '/'",
    );
  });

  test('those of RabbitMQ are there', async () => {
    for (const name of ['', 'amq.direct', 'amq.fanout', 'amq.topic', 'amq.headers', 'amq.match']) {
      await channel.checkExchange(name);
    }
  });
});

describe('queues', () => {
  test('a name given by the server, and the empty name for the last one', async () => {
    const { queue } = await channel.assertQueue('', { exclusive: true });
    expect(queue).toMatch(/^amq\.gen-[\w-]{22}$/);
    expect((await channel.checkQueue('')).queue).toBe(queue);
    await channel.bindQueue('', 'amq.direct', '');
    channel.publish('amq.direct', queue, Buffer.from('by its own name'));
    await channel.checkQueue(queue);
    expect(await drain(queue)).toEqual(['by its own name']);
  });

  test('an exclusive queue is locked for others and goes with its connection', async () => {
    await channel.assertQueue('mine', { exclusive: true });
    const other = await amqp.connect(broker.url);
    const probe = await other.createChannel();
    const closed = new Promise<Error>((resolve) => probe.once('error', resolve));
    await probe.checkQueue('mine').catch(() => {});
    expect((await closed).message).toContain(
      'RESOURCE_LOCKED - cannot obtain exclusive access to locked queue',
    );
    await client.close();
    await expect.poll(() => broker.core.queues.get('mine')).toBeUndefined();
    await other.close();
  });

  test('an auto-delete queue goes with its last consumer, not before the first', async () => {
    await channel.assertQueue('auto', { autoDelete: true });
    expect(broker.core.queues.get('auto')).toBeDefined();
    const { consumerTag } = await channel.consume('auto', () => {});
    await channel.cancel(consumerTag);
    expect(broker.core.queues.get('auto')).toBeUndefined();
  });

  test('rejected, expired and dropped messages go where the queue says', async () => {
    const dead = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(dead.queue, 'graves', '#');
    const { queue } = await channel.assertQueue('', {
      exclusive: true,
      arguments: { 'x-dead-letter-exchange': 'graves', 'x-max-length': 2 },
    });
    for (const text of ['dropped', 'rejected', 'expired']) {
      channel.sendToQueue(queue, Buffer.from(text), text === 'expired' ? { expiration: '30' } : {});
    }
    const message = await channel.get(queue);
    if (message !== false) channel.nack(message, false, false);
    await expect.poll(async () => (await channel.checkQueue(dead.queue)).messageCount).toBe(3);
    const reasons: string[] = [];
    for (let i = 0; i < 3; i++) {
      const corpse = await channel.get(dead.queue, { noAck: true });
      if (corpse === false) break;
      expect(corpse.fields).toMatchObject({ exchange: 'graves', routingKey: queue });
      const death = (corpse.properties.headers as { 'x-death': { reason: string; queue: string }[] })[
        'x-death'
      ][0];
      expect(death?.queue).toBe(queue);
      reasons.push(`${corpse.content} ${death?.reason}`);
    }
    expect(reasons.sort()).toEqual(['dropped maxlen', 'expired expired', 'rejected rejected']);
  });

  test('a dead letter goes straight to a queue through the default exchange, dots and slashes in its name', async () => {
    const grave = 'dead.letters/eu';
    await channel.assertQueue(grave, { autoDelete: true });
    const { queue } = await channel.assertQueue('', {
      exclusive: true,
      arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': grave },
    });
    channel.sendToQueue(queue, Buffer.from('x'));
    const message = await channel.get(queue);
    if (message !== false) channel.reject(message, false);
    await expect.poll(async () => (await channel.checkQueue(grave)).messageCount).toBe(1);
    const corpse = await channel.get(grave, { noAck: true });
    expect(corpse === false ? null : corpse.fields).toMatchObject({ exchange: '', routingKey: grave });
    await channel.deleteQueue(grave);
  });

  test('deleting, unbinding and cancelling what is not there succeeds', async () => {
    expect(await channel.deleteQueue('never there')).toEqual({ messageCount: 0 });
    await channel.deleteExchange('never there');
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.unbindQueue(queue, 'never there', 'k');
  });
});

describe('refusals close the channel with RabbitMQ’s codes', () => {
  beforeAll(async () => {
    const setup = await amqp.connect(broker.url);
    const one = await setup.createChannel();
    await one.assertQueue('q', { durable: true, arguments: { 'x-message-ttl': 60_000 } });
    await one.assertExchange('x', 'topic');
    await one.assertExchange('internal', 'fanout', { internal: true });
    one.sendToQueue('q', Buffer.from('stays'));
    await one.checkQueue('q');
    await setup.close();
  });

  const cases: readonly (readonly [
    what: string,
    expected: string,
    work: (probe: Channel) => Promise<unknown>,
  ])[] = [
    [
      'a queue that is not there',
      "NOT_FOUND - no queue 'no' in vhost '/'",
      (probe) => probe.consume('no', () => {}),
    ],
    [
      'an exchange that is not there',
      "NOT_FOUND - no exchange 'no' in vhost '/'",
      (probe) => probe.checkExchange('no'),
    ],
    [
      'a queue declared otherwise',
      "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
      (probe) => probe.assertQueue('q', { durable: false, arguments: { 'x-message-ttl': 60_000 } }),
    ],
    [
      'another argument',
      "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received the value '5000' of type 'short' but current is the value '60000' of type 'signedint'",
      (probe) => probe.assertQueue('q', { arguments: { 'x-message-ttl': 5000 } }),
    ],
    [
      'an argument left out',
      "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received none but current is the value '60000' of type 'signedint'",
      (probe) => probe.assertQueue('q'),
    ],
    [
      'an exchange of another type',
      "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'topic'",
      (probe) => probe.assertExchange('x', 'fanout'),
    ],
    [
      'an unknown type',
      "PRECONDITION_FAILED - unknown exchange type 'odd'",
      (probe) => probe.assertExchange('y', 'odd'),
    ],
    [
      'a reserved queue name',
      "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
      (probe) => probe.assertQueue('amq.mine'),
    ],
    [
      'a reserved exchange name',
      "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
      (probe) => probe.assertExchange('amq.mine', 'direct'),
    ],
    [
      'binding to the default exchange',
      'ACCESS_REFUSED - operation not permitted on the default exchange',
      (probe) => probe.bindQueue('q', '', 'k'),
    ],
    [
      'publishing to an internal exchange',
      "ACCESS_REFUSED - cannot publish to internal exchange 'internal' in vhost '/'",
      async (probe) => probe.publish('internal', 'k', Buffer.from('x')),
    ],
    [
      'deleting a queue that holds messages',
      "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty",
      (probe) => probe.deleteQueue('q', { ifEmpty: true }),
    ],
    [
      'an unknown delivery tag',
      'PRECONDITION_FAILED - unknown delivery tag 99',
      async (probe) => probe.ack({ fields: { deliveryTag: 99 } } as never),
    ],
    [
      'an expiration that is no number',
      "PRECONDITION_FAILED - invalid expiration 'soon'",
      async (probe) => probe.sendToQueue('q', Buffer.from('x'), { expiration: 'soon' }),
    ],
    [
      'another user’s name',
      "PRECONDITION_FAILED - user_id property set to 'root' but authenticated user was 'guest'",
      async (probe) => probe.sendToQueue('q', Buffer.from('x'), { userId: 'root' }),
    ],
    [
      'an unsupported queue type',
      "PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 's' in vhost '/': unsupported queue type 'odd'",
      (probe) => probe.assertQueue('s', { arguments: { 'x-queue-type': 'odd' } }),
    ],
    [
      'a second exclusive consumer',
      "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use",
      async (probe) => {
        await channel.consume('q', () => {});
        await probe.consume('q', () => {}, { exclusive: true });
      },
    ],
  ];
  test.each(cases)('%s', async (_what, expected, work) => {
    expect(await codeOf(work)).toBe(expected);
  });

  test('in use: exchange and queue', async () => {
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'x', '#');
    expect(await codeOf((probe) => probe.deleteExchange('x', { ifUnused: true }))).toContain(
      "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use",
    );
    await channel.consume(queue, () => {});
    expect(await codeOf((probe) => probe.deleteQueue(queue, { ifUnused: true }))).toContain(
      `PRECONDITION_FAILED - queue '${queue}' in vhost '/' in use`,
    );
  });

  test('the connection goes on after its channel was closed', async () => {
    await codeOf((probe) => probe.checkQueue('no'));
    const next = await client.createChannel();
    await next.checkQueue('q');
  });
});

test('nobody else unbinds an exclusive queue', async () => {
  await channel.assertQueue('bound-for-me', { exclusive: true });
  await channel.bindQueue('bound-for-me', 'amq.direct', 'k');
  const other = await amqp.connect(broker.url);
  const probe = await other.createChannel();
  const closed = new Promise<Error>((resolve) => probe.once('error', resolve));
  await probe.unbindQueue('bound-for-me', 'amq.direct', 'k').catch(() => {});
  expect((await closed).message).toContain('RESOURCE_LOCKED');
  await other.close();
  channel.publish('amq.direct', 'k', Buffer.from('still bound'));
  expect(await drain('bound-for-me')).toEqual(['still bound']);
});

test('where only declared exchanges are served, one that went by itself is missed at once', async () => {
  const strict = await startBroker({ settings: { undeclaredExchanges: 'refuse' } });
  const connection = await amqp.connect(strict.url);
  const publisher = await connection.createChannel();
  const closed = new Promise<Error>((resolve) => publisher.once('error', resolve));
  await publisher.assertExchange('brief', 'fanout', { autoDelete: true });
  await publisher.assertQueue('q', { exclusive: true });
  await publisher.bindQueue('q', 'brief', '');
  publisher.publish('brief', '', Buffer.from('one'));
  await publisher.unbindQueue('q', 'brief', '');
  publisher.publish('brief', '', Buffer.from('two'));
  expect((await closed).message).toContain('NOT_FOUND');
  await connection.close();
  await strict.close();
});
