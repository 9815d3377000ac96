/**
 * What a bridge makes of outcomes, missing credit, detached links and silence, with a broker that answers as a test says: one
 * written with rhea. And RabbitMQ's plugin for AMQP 1.0, whose dialect is another than Artemis's.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { connect as connectAmqp091 } from 'amqplib';
import rhea, { type Delivery, type EventContext, type Receiver } from 'rhea';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { createAmqp10BridgeDriver } from '../../../adapters/bridge-amqp10/index.ts';
import { createAuthority } from '../../support/certificates.ts';
import { pickPort } from '../../support/ports.ts';
import { describeWith, waitFor } from '../programs.ts';
import { batchOf, deliver, Gathered, type LinkSetup, messageOf, openLink, receiveHeldBack } from './link.ts';
import { type RabbitMq, startRabbitMq } from './rabbitmq.ts';

const MEBIBYTE = 1024 * 1024;
const driver = createAmqp10BridgeDriver();

interface Answering {
  readonly port: number;
  readonly bodies: string[];
  readonly sockets: Set<Socket>;
  /** Of the bridge's link, when it is there. */
  receiver: Receiver | null;
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return (server.address() as { port: number }).port;
}

/** A broker that takes `credit` messages and lets `answer` settle each. */
async function answering(
  answer: (delivery: Delivery, body: string) => void,
  credit = 100,
  onReceiver: (receiver: Receiver) => void = () => {},
): Promise<Answering> {
  const container = rhea.create_container();
  container.on('error', () => {});
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    container.create_connection({ credit_window: 0, autoaccept: false } as never).accept(socket as never);
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  const broker: Answering = { port: await listen(server), bodies: [], sockets, receiver: null };
  container.on('receiver_open', ({ receiver }: EventContext) => {
    broker.receiver = receiver ?? null;
    receiver!.set_target(receiver!.target);
    onReceiver(receiver!);
    if (credit > 0) receiver!.add_credit(credit);
  });
  container.on('message', ({ message, delivery }: EventContext) => {
    const { content } = message!.body as { readonly content: Buffer };
    broker.bodies.push(content.toString());
    answer(delivery!, content.toString());
  });
  for (const quiet of ['disconnected', 'connection_close', 'receiver_close', 'session_close']) {
    container.on(quiet, () => {});
  }
  return broker;
}

const setupTo = (port: number, options: object = {}, connection: object = {}): LinkSetup => ({
  driver,
  connection: { host: '127.0.0.1', port, mechanism: 'ANONYMOUS', connectTimeoutMs: 5000, ...connection },
  options: { target: 'node', ...options },
});

const batch = (...bodies: string[]) => batchOf(bodies.map((body) => messageOf('a', body)));

describeWith([], 'a bridge out to a broker of AMQP 1.0', () => {
  it('tells what was settled before the connection was lost, and only then that it is lost', async () => {
    const broker = await answering((delivery, body) => {
      if (body === 'a') delivery.accept();
      if (body === 'c')
        setTimeout(() => {
          for (const socket of broker.sockets) socket.destroy();
        }, 50);
    });
    const { link, lost } = await openLink(setupTo(broker.port), 'out');
    const order: string[] = [];
    void lost.then(() => order.push('lost'));
    const answers = await link.send(batch('a', 'b', 'c'));
    for (let step = 0; step < 20; step++) await null;
    order.push('answers');
    const unclear = { reason: expect.any(String), permanent: false, general: true };
    expect(answers).toEqual([null, unclear, unclear]);
    await lost;
    expect(order).toEqual(['answers', 'lost']);
    await link.close();
  });

  it('tells what is refused for good from what is not taken now', async () => {
    // One in a turn: of several rhea takes the second for the same as the first.
    let turns = 0;
    const broker = await answering(
      (delivery, body) => void setTimeout(() => settle(delivery, body), 10 * turns++),
    );
    const settle = (delivery: Delivery, body: string): void => {
      if (body === 'accept') delivery.accept();
      else if (body === 'reject')
        delivery.reject({ condition: 'amqp:precondition-failed', description: 'no' });
      else if (body === 'full')
        delivery.reject({ condition: 'amqp:resource-limit-exceeded', description: 'full' });
      else if (body === 'release') delivery.release();
      else delivery.modified({ delivery_failed: true, undeliverable_here: false });
    };
    const { link } = await openLink(setupTo(broker.port), 'out');
    expect(await link.send(batch('accept', 'reject', 'full', 'release', 'modify', 'accept'))).toEqual([
      null,
      { reason: 'rejected: amqp:precondition-failed: no', permanent: true },
      { reason: 'rejected: amqp:resource-limit-exceeded: full', permanent: false },
      { reason: 'the broker released it', permanent: false },
      { reason: 'the broker gave it back (modified)', permanent: false },
      null,
    ]);
    await link.close();
  });

  it('sends no more than it has credit for, and says so', async () => {
    const broker = await answering((delivery) => delivery.accept(), 2);
    const { link } = await openLink(setupTo(broker.port), 'out');
    const waits = { reason: 'the broker gives no credit', permanent: false, general: true };
    expect(await link.send(batch('1', '2', '3', '4'))).toEqual([null, null, waits, waits]);
    expect(broker.bodies).toEqual(['1', '2']);
    broker.receiver!.add_credit(10);
    expect(await link.send(batch('3', '4'))).toEqual([null, null]);
    expect(broker.bodies).toEqual(['1', '2', '3', '4']);
    await link.close();
  });

  it('sends again what had no outcome in time', async () => {
    const broker = await answering((delivery, body) => {
      if (body !== 'silence') delivery.accept();
    });
    const { link, lost } = await openLink(setupTo(broker.port, { settleTimeoutMs: 1000 }), 'out');
    expect(await link.send(batch('1', 'silence'))).toMatchObject([null, { permanent: false }]);
    expect(await lost).toMatchObject({ failure: 'timeout' });
    await link.close();
  });

  it('is lost with the reason when the link is detached', async () => {
    const broker = await answering(() => {
      broker.receiver!.close({ condition: 'amqp:resource-deleted', description: 'gone' });
    });
    const { link, lost } = await openLink(setupTo(broker.port), 'out');
    await expect(link.send(batch('1'))).rejects.toMatchObject({ failure: 'no-target' });
    expect(await lost).toMatchObject({
      failure: 'no-target',
      message: expect.stringMatching(/"node".*amqp:resource-deleted: gone/),
    });
    await link.close();
  });

  it('cannot be opened where the node is refused', async () => {
    const broker = await answering(
      () => {},
      0,
      (receiver) => {
        receiver.close({ condition: 'amqp:unauthorized-access', description: 'not yours' });
      },
    );
    await expect(openLink(setupTo(broker.port), 'out')).rejects.toMatchObject({
      failure: 'not-authorized',
      message: expect.stringContaining('not yours'),
    });
  });

  it('waits no longer than it is told for a node that does not answer', async () => {
    const container = rhea.create_container();
    for (const quiet of ['disconnected', 'connection_close', 'error']) container.on(quiet, () => {});
    const sockets: Socket[] = [];
    const port = await listen(
      createServer((socket) => {
        sockets.push(socket);
        const connection = container.create_connection({} as never);
        connection.accept(socket as never);
        // The attach never gets through.
        (connection as unknown as { on_attach(): void }).on_attach = () => {};
      }),
    );
    const setup = setupTo(port, {}, { connectTimeoutMs: 500 });
    await expect(openLink(setup, 'out')).rejects.toMatchObject({ failure: 'timeout' });
    const { link } = await openLink({ ...setup, options: {} }, 'in');
    await expect(link.receive(['node'], new Gathered())).rejects.toMatchObject({ failure: 'timeout' });
    await link.close();
    for (const socket of sockets) socket.destroy();
  });

  it('ends what is under way when the connection breaks', async () => {
    const broker = await answering(() => {
      for (const socket of broker.sockets) socket.destroy();
    });
    const { link, lost } = await openLink(setupTo(broker.port), 'out');
    await expect(link.send(batch('1'))).rejects.toMatchObject({ failure: 'closed' });
    expect(await lost).toMatchObject({ failure: 'closed' });
    await link.close();
  });

  it('proves who it is by its certificate, and believes none that nobody vouches for', async () => {
    const authority = createAuthority('bridge test');
    const server = authority.issue({ commonName: 'localhost', names: ['dns:localhost'] });
    const client = authority.issue({ commonName: 'bridge' });
    const container = rhea.create_container();
    const users: unknown[] = [];
    container.on('connection_open', ({ connection }: EventContext) => {
      users.push(
        (connection as unknown as { sasl_transport?: { username?: string } }).sasl_transport?.username,
      );
    });
    container.on('receiver_open', ({ receiver }: EventContext) => receiver!.set_target(receiver!.target));
    for (const quiet of ['disconnected', 'connection_close', 'error', 'message'])
      container.on(quiet, () => {});
    const listener = createTlsServer(
      {
        cert: server.certificate,
        key: server.key,
        ca: authority.certificate,
        requestCert: true,
        rejectUnauthorized: false,
      },
      (socket) =>
        container.create_connection({ enable_sasl_external: true } as never).accept(socket as never),
    );
    listener.on('tlsClientError', () => {});
    const port = await listen(listener);
    const tls = {
      enabled: true,
      ca: authority.certificate,
      certificate: client.certificate,
      key: client.key,
    };
    const external = { host: 'localhost', mechanism: 'EXTERNAL', tls };
    const { link } = await openLink(setupTo(port, {}, external), 'out');
    expect(await link.send(batch('1'))).toEqual([null]);
    await link.close();
    expect(users).toHaveLength(1);
    const doubting = { ...external, tls: { enabled: true } };
    await expect(openLink(setupTo(port, {}, doubting), 'out')).rejects.toMatchObject({ failure: 'tls' });
  });

  it('is told apart: nobody listens, somebody hangs, somebody speaks another language', async () => {
    await expect(openLink(setupTo(await pickPort()), 'out')).rejects.toMatchObject({
      failure: 'unreachable',
    });
    const sockets: Socket[] = [];
    const hanging = await listen(createServer((socket) => void sockets.push(socket)));
    const slow = setupTo(hanging, {}, { connectTimeoutMs: 300 });
    await expect(openLink(slow, 'out')).rejects.toMatchObject({ failure: 'timeout' });
    const abort = new AbortController();
    const opening = openLink({ ...setupTo(hanging), signal: abort.signal }, 'in');
    setTimeout(() => abort.abort(), 50);
    await expect(opening).rejects.toThrow();
    const other = await listen(createServer((socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')));
    await expect(openLink(setupTo(other), 'out')).rejects.toMatchObject({ failure: 'protocol' });
    for (const socket of sockets) socket.destroy();
  });
});

describeWith([], 'a bridge in from a broker of AMQP 1.0', () => {
  /** A broker that sends these as soon as it may, and what became of each. */
  async function sending(...messages: (object | Buffer)[]): Promise<{ port: number; outcomes: string[] }> {
    const container = rhea.create_container();
    const outcomes: string[] = [];
    container.on('sender_open', ({ sender }: EventContext) => {
      sender!.set_source(sender!.source);
    });
    let isSent = false;
    container.on('sendable', ({ sender }: EventContext) => {
      if (isSent) return;
      isSent = true;
      for (const each of messages) {
        if (Buffer.isBuffer(each)) sender!.send(each, undefined, 0);
        else sender!.send(each as never);
      }
    });
    for (const outcome of ['accepted', 'rejected', 'released', 'modified']) {
      container.on(outcome, ({ delivery }: EventContext) => {
        outcomes[(delivery as unknown as { readonly id: number }).id] = outcome;
      });
    }
    for (const quiet of ['disconnected', 'connection_close', 'error']) container.on(quiet, () => {});
    const port = await listen(
      createServer((socket) => container.create_connection({} as never).accept(socket as never)),
    );
    return { port, outcomes };
  }

  it('rejects what is larger than it takes, and nothing beside it', async () => {
    const body = (length: number): string => 'x'.repeat(length);
    const sizes = [10, 300_000, 1_000_000, 150_000, 20];
    const { port, outcomes } = await sending(...sizes.map((size) => ({ body: body(size) })));
    const { link } = await openLink({ ...setupTo(port), options: { messageBytesMax: 200_000 } }, 'in');
    const gathered = new Gathered();
    await link.receive(['node'], gathered);
    await waitFor('all outcomes', () => outcomes.filter(Boolean).length === 5);
    expect(outcomes).toEqual(['accepted', 'rejected', 'rejected', 'accepted', 'accepted']);
    expect(gathered.bodies.map(({ length }) => length)).toEqual([10, 150_000, 20]);
    await link.close();
  });

  it('rejects what it cannot read, and nothing beside it', async () => {
    const { port, outcomes } = await sending({ to: 'a/b', body: 'first' }, Buffer.from('no message at all'), {
      body: 'third',
    });
    const { link } = await openLink({ ...setupTo(port), options: {} }, 'in');
    const gathered = new Gathered();
    await link.receive(['node'], gathered);
    await waitFor('all outcomes', () => outcomes.filter(Boolean).length === 3);
    expect(outcomes).toEqual(['accepted', 'rejected', 'accepted']);
    expect(gathered.bodies).toEqual(['first', 'third']);
    expect(gathered.messages.map(({ address }) => address)).toEqual(['a/b', 'node']);
    await link.close();
  });
});

describeWith(['rabbitmq'], 'bridges to RabbitMQ by AMQP 1.0', () => {
  let broker: RabbitMq;
  beforeAll(async () => {
    broker = await startRabbitMq(['rabbitmq_amqp1_0']);
  });
  afterAll(() => broker?.stop());

  it('pass messages through a queue, both ways', async () => {
    const model = await connectAmqp091(`amqp://127.0.0.1:${broker.port}`);
    const channel = await model.createChannel();
    await channel.assertQueue('tens', { durable: true });
    const login = { mechanism: 'PLAIN', user: 'guest', password: 'guest' };
    const out = setupTo(broker.port, { target: '/amq/queue/tens' }, login);
    const messages = Array.from({ length: 3000 }, (_, number) =>
      messageOf('a/b', String(number), {
        properties: { headers: [{ name: 'n', value: { kind: 'i32', value: number } }] },
      }),
    );
    await deliver(out, messages);
    const { link } = await openLink({ ...out, options: {} }, 'in');
    const gathered = new Gathered();
    await link.receive(['/amq/queue/tens'], gathered);
    await waitFor('all of them', () => gathered.messages.length === 3000);
    await link.close();
    expect(gathered.bodies).toEqual(messages.map((_, number) => String(number)));
    expect(gathered.messages[7]).toMatchObject({ address: 'a/b', reliability: 1 });
    expect(gathered.messages[7]!.properties.headers).toContainEqual({
      name: 'n',
      value: { kind: 'i32', value: 7 },
    });
    expect((await channel.checkQueue('tens')).messageCount).toBe(0);
    await model.close();
  });

  it('let the broker send no more bytes than they may hold', async () => {
    const model = await connectAmqp091(`amqp://127.0.0.1:${broker.port}`);
    const channel = await model.createConfirmChannel();
    await channel.assertQueue('bulk', { durable: true });
    for (let number = 0; number < 24; number++) channel.sendToQueue('bulk', Buffer.alloc(MEBIBYTE));
    await channel.waitForConfirms();
    const login = { mechanism: 'PLAIN', user: 'guest', password: 'guest' };
    const bounded = { ...setupTo(broker.port, {}, login), options: { inFlightBytesMax: 4 * MEBIBYTE } };
    const held = await receiveHeldBack(bounded, '/amq/queue/bulk', { count: 24, holdMs: 1000 });
    expect(held).toBeGreaterThanOrEqual(3);
    expect(held).toBeLessThanOrEqual(5);
    await model.close();
  });

  it('say that a queue is missing', async () => {
    const login = { mechanism: 'PLAIN', user: 'guest', password: 'guest' };
    const setup = { ...setupTo(broker.port, {}, login), options: {} };
    const { link, lost } = await openLink(setup, 'in');
    await expect(link.receive(['/amq/queue/nowhere'], new Gathered())).rejects.toMatchObject({
      failure: expect.stringMatching(/^(no-target|closed)$/),
    });
    expect(await lost).toMatchObject({ message: expect.stringContaining('nowhere') });
    await link.close();
  });
});
