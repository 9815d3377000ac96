/** Why a link to a broker of AMQP 0-9-1 cannot be opened, told in words that lead to the cause; and who the other side is. */
import { connect as connectSocket, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { connect } from 'amqplib';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { createAmqp091BridgeDriver } from '../../../adapters/bridge-amqp091/index.ts';
import { tapOf } from '../../../adapters/bridge-amqp091/wire.ts';
import { encodeRoute } from '../../../mappings/amqp091.ts';
import { createAuthority } from '../../support/certificates.ts';
import { pickPort } from '../../support/ports.ts';
import { type Gateway, startGateway } from '../gateway.ts';
import { describeWith, pause, waitFor } from '../programs.ts';
import { batchOf, deliver, Gathered, type LinkSetup, messageOf, openLink } from './link.ts';
import { type RabbitMq, startRabbitMq } from './rabbitmq.ts';

const driver = createAmqp091BridgeDriver();

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return (server.address() as { port: number }).port;
}

/** A server that gives each connection to `serve`. */
function serve(handler: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    handler(socket);
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  return listen(server);
}

const setupTo = (connection: object, options: object = {}): LinkSetup => ({
  driver,
  connection: { host: '127.0.0.1', connectTimeoutMs: 5000, ...connection },
  options,
});

const frame = (type: number, channel: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(7);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.of(0xce)]);
};
const method = (classId: number, methodId: number, ...parts: Buffer[]): Buffer =>
  frame(1, 0, Buffer.concat([Buffer.of(0, classId, 0, methodId), ...parts]));
const long = (text: string): Buffer => Buffer.concat([Buffer.of(0, 0, 0, text.length), Buffer.from(text)]);

describeWith([], 'a link to a broker of AMQP 0-9-1', () => {
  it('is told apart: nobody listens, somebody hangs, somebody speaks another language', async () => {
    const nobody = await pickPort();
    await expect(openLink(setupTo({ port: nobody }), 'out')).rejects.toMatchObject({
      failure: 'unreachable',
      message: expect.stringContaining(`127.0.0.1:${nobody}`),
    });
    const hanging = await serve(() => {});
    await expect(openLink(setupTo({ port: hanging, connectTimeoutMs: 300 }), 'out')).rejects.toMatchObject({
      failure: 'timeout',
    });
    const other = await serve((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    await expect(openLink(setupTo({ port: other }), 'out')).rejects.toMatchObject({
      failure: expect.stringMatching(/^(protocol|closed)$/),
    });
  });

  it('gives up when it is told to', async () => {
    const hanging = await serve(() => {});
    const abort = new AbortController();
    const opening = openLink(
      { ...setupTo({ port: hanging, connectTimeoutMs: 30_000 }), signal: abort.signal },
      'in',
    );
    setTimeout(() => abort.abort(), 50);
    await expect(opening).rejects.toThrow();
  });

  it('does not believe a certificate that nobody vouches for', async () => {
    const authority = createAuthority('bridge test');
    const issued = authority.issue({ commonName: 'localhost', names: ['dns:localhost'] });
    const server = createTlsServer({ cert: issued.certificate, key: issued.key });
    server.on('tlsClientError', () => {});
    const port = await listen(server);
    await expect(openLink(setupTo({ port, tls: { enabled: true } }), 'out')).rejects.toMatchObject({
      failure: 'tls',
    });
    const trusting = { port, connectTimeoutMs: 500, tls: { enabled: true, ca: authority.certificate } };
    await expect(openLink(setupTo({ ...trusting, host: 'localhost' }), 'out')).rejects.toMatchObject({
      failure: 'timeout',
    });
  });

  it('survives a broker that closes in the moment when it opens', async () => {
    const tune = Buffer.of(0, 10, 0, 2, 0, 0, 0, 0);
    const close = [Buffer.of(0x02, 0x1d), Buffer.of(4), Buffer.from('gone'), Buffer.of(0, 0, 0, 0)];
    const port = await serve((socket) => {
      socket.once('data', () => {
        socket.write(method(10, 10, Buffer.of(0, 9, 0, 0, 0, 0), long('PLAIN'), long('en_US')));
        socket.once('data', () => {
          socket.write(method(10, 30, tune));
          socket.once('data', () =>
            socket.end(Buffer.concat([method(10, 41, Buffer.of(0)), method(10, 50, ...close)])),
          );
        });
      });
    });
    await expect(openLink(setupTo({ port }), 'out')).rejects.toMatchObject({ name: 'LinkError' });
  });
});

describeWith(['rabbitmq'], 'a link to RabbitMQ', () => {
  let broker: RabbitMq;
  beforeAll(async () => {
    broker = await startRabbitMq();
  });
  afterAll(() => broker?.stop());

  it('says that the password is wrong, without it', async () => {
    const wrong = setupTo({ port: broker.port, user: 'guest', password: 'correct horse' });
    const error = await openLink(wrong, 'out').then(
      () => expect.unreachable(),
      (reason: Error) => reason,
    );
    expect(error).toMatchObject({
      failure: 'authentication',
      message: expect.stringContaining('ACCESS_REFUSED'),
    });
    expect(`${error.message} ${error.stack} ${String(error.cause)}`).not.toContain('horse');
  });

  it('says that a virtual host is not open to it', async () => {
    await expect(openLink(setupTo({ port: broker.port, virtualHost: 'a/b' }), 'out')).rejects.toMatchObject({
      failure: 'not-authorized',
      message: expect.stringContaining('virtual host "a/b"'),
    });
    await broker.control('add_vhost', 'a/b');
    await broker.control('set_permissions', '-p', 'a/b', 'guest', '.*', '.*', '.*');
    const { link } = await openLink(setupTo({ port: broker.port, virtualHost: 'a/b' }), 'out');
    expect(link.peer).toBeNull();
    await link.close();
  });

  it('says that it may not write there, and goes on when it may', async () => {
    await broker.control('add_user', 'reader', 'secret');
    await broker.control('set_permissions', 'reader', '^$', '^$', '.*');
    const { link } = await openLink(
      setupTo({ port: broker.port, user: 'reader', password: 'secret' }),
      'out',
    );
    const batch = batchOf([messageOf('a', 'b')]);
    expect(await link.send(batch)).toEqual([
      { permanent: false, reason: expect.stringMatching(/ACCESS_REFUSED.*amq\.topic/) },
    ]);
    await broker.control('set_permissions', 'reader', '^$', '.*', '.*');
    expect(await link.send(batch)).toEqual([null]);
    await link.close();
  });

  it('tries the next address, and shows its name', async () => {
    const setup = setupTo({ port: await pickPort(), addresses: [`127.0.0.1:${broker.port}`] });
    const { link } = await openLink(setup, 'out');
    expect(await broker.control('list_connections', 'client_properties')).toContain('rosettamq: test');
    await link.close();
    await link.close();
  });

  /** Stands between the two and can fall silent. */
  async function relay(): Promise<{ readonly port: number; isSilent: boolean }> {
    const state = { port: 0, isSilent: false };
    state.port = await serve((socket) => {
      const beyond = connectSocket(broker.port, '127.0.0.1');
      beyond.on('error', () => {});
      socket.on('data', (bytes: Buffer) => state.isSilent || beyond.write(bytes));
      beyond.on('data', (bytes: Buffer) => state.isSilent || socket.write(bytes));
      socket.on('close', () => beyond.destroy());
    });
    return state;
  }

  it('is lost when nothing comes from the broker any more', async () => {
    const between = await relay();
    const { link, lost } = await openLink(setupTo({ port: between.port, heartbeatSeconds: 1 }), 'out');
    between.isSilent = true;
    expect(await lost).toMatchObject({ failure: 'timeout' });
    await link.close();
  });

  it('waits no longer than it is told for a broker that hangs after the login', async () => {
    const between = await relay();
    const { link } = await openLink(setupTo({ port: between.port, connectTimeoutMs: 500 }), 'in');
    between.isSilent = true;
    await expect(link.receive(['nowhere'], new Gathered())).rejects.toMatchObject({ failure: 'timeout' });
    await link.close();
    between.isSilent = false;
    const out = await openLink(setupTo({ port: between.port }, { confirmTimeoutMs: 1000 }), 'out');
    between.isSilent = true;
    await expect(out.link.send(batchOf([messageOf('a', 'b')]))).rejects.toMatchObject({ failure: 'timeout' });
    await out.link.close();
  });

  it('is closed in time when the broker hangs, whatever answers come meanwhile', async () => {
    const between = await relay();
    const declare = { queues: [{ name: 'late', bind: [{ exchange: 'amq.topic', key: 'late' }] }] };
    const { link } = await openLink(setupTo({ port: between.port }, { declare }), 'in');
    const gathered = new Gathered();
    gathered.answer = async () => {
      // While the close of the connection is under way, which no acknowledgement may follow.
      await pause(1500);
      return 'stored' as const;
    };
    await link.receive(['late'], gathered);
    await deliver(setupTo({ port: broker.port }), [messageOf('late', '1')]);
    await waitFor('the message', () => gathered.messages.length === 1);
    between.isSilent = true;
    const begin = performance.now();
    await link.close();
    expect(performance.now() - begin).toBeLessThan(4000);
  });
});

describeWith([], 'a link to another gateway', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway?.stop());

  it('knows who that is, sends there and receives from there', async () => {
    const setup = setupTo({ port: gateway.ports.amqp });
    const queues = [{ name: 'bridged', bind: [{ exchange: 'amq.topic', key: 'a.#' }] }];
    const { link } = await openLink({ ...setup, options: { declare: { queues } } }, 'in');
    expect(link.peer).toMatch(/^[0-9a-f]{32}$/);
    const gathered = new Gathered();
    await link.receive(['bridged'], gathered);
    const messages = Array.from({ length: 2000 }, (_, number) => messageOf('a/b', String(number)));
    await deliver({ ...setup, options: { unroutable: 'wait' } }, messages);
    await expect.poll(() => gathered.messages.length, { timeout: 20_000 }).toBe(2000);
    expect(gathered.bodies).toEqual(messages.map((_, number) => String(number)));
    expect(gathered.messages[0]!.address).toBe('a/b');
    await link.close();
  });

  it('reads a header of a kind that the client library does not know', async () => {
    const setup = setupTo({ port: gateway.ports.amqp });
    const queues = [{ name: 'old-kind', bind: [{ exchange: 'amq.topic', key: 'old' }] }];
    const { link } = await openLink({ ...setup, options: { declare: { queues } } }, 'in');
    const gathered = new Gathered();
    await link.receive(['old-kind'], gathered);
    const model = await connect(`amqp://127.0.0.1:${gateway.ports.amqp}`);
    const writer = tapOf(model).writerOf(await model.createChannel());
    const field = Buffer.concat([Buffer.of(1), Buffer.from('nL'), Buffer.alloc(7), Buffer.of(42)]);
    const table = Buffer.concat([Buffer.of(0, 0, 0, field.length), field]);
    writer.publish(
      encodeRoute('amq.topic', 'old'),
      false,
      Buffer.concat([Buffer.of(0x20, 0), table]),
      Buffer.from('b'),
    );
    writer.flush();
    await expect.poll(() => gathered.messages.length, { timeout: 10_000 }).toBe(1);
    expect(gathered.messages[0]!.properties.headers).toEqual([
      { name: 'n', value: { kind: 'i64', value: 42n } },
    ]);
    await model.close();
    await link.close();
  });
});
