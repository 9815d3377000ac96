/** Until somebody asks for more than health, probes are answered by hand; then the API takes over, connections and all. */
import { connect, type Server, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { openDoorway } from '../../../src/admin/doorway.ts';
import type { HealthAnswer } from '../../../src/admin/health.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';

const OK: HealthAnswer = { code: 200, body: { status: 'ok', failing: [] } };
const close: (() => unknown)[] = [];
afterEach(async () => {
  for (const task of close.splice(0)) await task();
});

interface Opened {
  readonly server: Server;
  readonly port: number;
  readonly asked: string[];
  readonly passedOn: Socket[];
}

async function open(requestTimeoutMs = 1_000, takenOver = Promise.resolve()): Promise<Opened> {
  const asked: string[] = [];
  const passedOn: Socket[] = [];
  const server = await openDoorway({
    host: '127.0.0.1',
    port: 0,
    connectionsMax: 10,
    requestTimeoutMs,
    answer: (path, isVerbose, host) => {
      asked.push(`${path} ${isVerbose} ${host}`);
      return host === 'evil' ? null : OK;
    },
    more: (socket) => {
      passedOn.push(socket);
      return takenOver;
    },
  });
  close.push(() => {
    for (const socket of passedOn) socket.destroy();
    server.close();
  });
  return { server, port: (server.address() as { port: number }).port, asked, passedOn };
}

/** Everything that comes until the end. */
function exchange(port: number, ...chunks: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
    const next = (at: number): void => {
      if (at === chunks.length) return;
      socket.write(chunks[at] as string, () => setTimeout(next, 5, at + 1));
    };
    next(0);
  });
}

it('a probe is answered, also in pieces', async () => {
  const { port, asked } = await open();
  const answer = await exchange(port, 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(answer).toMatch(/\r\nconnection: close\r\n\r\n\{"status":"ok","failing":\[\]\}$/);
  await exchange(port, 'G', 'ET /rea', 'dyz?verbose HTTP/1.1\r\nHo', 'st: x\r\n\r', '\n');
  const head = await exchange(port, 'HEAD /startupz HTTP/1.0\r\n\r\n');
  expect(head).toMatch(/\r\ncontent-length: 28\r\n[\s\S]*\r\n\r\n$/);
  expect(asked).toEqual(['/livez false localhost', '/readyz true x', '/startupz false undefined']);
});

it.each([
  'GET /v1/queues HTTP/1.1\r\nHost: x\r\n\r\n',
  'POST /livez HTTP/1.1\r\nHost: x\r\n\r\n',
  'GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n',
  'GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n',
  'GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n',
  'GET /livez HTTP/1.1\r\nHost : x\r\n\r\n',
  'GET /livez?x HTTP/1.1\r\nHost: x\r\n\r\n',
  'GET /livez HTTP/1.1\r\nHost: evil\r\n\r\n',
  'GET  /livez\r\n\r\n',
  'hello',
  `GET /livez HTTP/1.1\r\nX: ${'x'.repeat(3000)}`,
])('%j is passed on with what it brought', async (request) => {
  const { port, passedOn } = await open();
  const socket = connect(port, '127.0.0.1', () => socket.write(request));
  close.push(() => socket.destroy());
  await expect.poll(() => passedOn).toHaveLength(1);
  const [passed] = passedOn as [Socket];
  await expect.poll(() => passed.readableLength).toBe(request.length);
  expect(passed.read().toString()).toBe(request);
});

it('who says nothing is let go', async () => {
  const { port } = await open(50);
  expect(await exchange(port, 'GET /liv')).toBe('');
});

it('who says it too slowly is let go, however often something comes', async () => {
  const { port } = await open(100);
  const socket = connect(port, '127.0.0.1', () => socket.write('GET /livez HTTP/1.1\r\nX: '));
  const dripping = setInterval(() => socket.write('x'), 10);
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(dripping);
});

it('who has said everything is answered still', async () => {
  const { port, passedOn } = await open();
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () =>
    socket.end('POST / HTTP/1.1\r\n\r\n'),
  );
  close.push(() => socket.destroy());
  await expect.poll(() => passedOn).toHaveLength(1);
  const [passed] = passedOn as [Socket];
  const ended = new Promise((resolve) => passed.once('end', resolve));
  passed.resume();
  await ended;
  passed.end('answer');
  const answer = await new Promise((resolve) => socket.once('data', (chunk) => resolve(chunk.toString())));
  expect(answer).toBe('answer');
});

it('who is passed on and breaks it off before anybody took it harms nobody', async () => {
  const { port, server, passedOn } = await open(60_000, new Promise(() => {}));
  const socket = connect(port, '127.0.0.1', () => socket.write('POST / HTTP/1.1'));
  await expect.poll(() => passedOn).toHaveLength(1);
  const [passed] = passedOn as [Socket];
  const failures: unknown[] = [];
  const unheard = (error: unknown): void => void failures.push(error);
  process.once('uncaughtException', unheard);
  socket.resetAndDestroy();
  await expect.poll(() => passed.closed).toBe(true);
  process.off('uncaughtException', unheard);
  expect(failures).toEqual([]);
  expect(server.listening).toBe(true);
});

it('who is passed on and taken by nobody is let go', async () => {
  const { port } = await open(50, new Promise(() => {}));
  expect(await exchange(port, 'POST / HTTP/1.1')).toBe('');
});

it('the API takes over the socket with the first connection that asks for it', async () => {
  const gateway: TestGateway = await startTestGateway({ settings: { 'http.requestTimeoutMs': 500 } });
  close.push(() => gateway.stop());
  const { port } = gateway.gateway.http!;
  const probe = 'GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n';
  expect(await exchange(port, probe)).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  const idle = exchange(port, 'GET /read');
  const both = await Promise.all(['/v1/queues', '/v1/streams'].map((path) => fetch(gateway.url + path)));
  expect(both.map(({ status }) => status)).toEqual([200, 200]);
  // A page that points a name of its own here is refused as ever.
  const foreign = await exchange(
    port,
    probe.replace('127.0.0.1', 'evil.example').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'),
  );
  expect(foreign).toMatch(/^HTTP\/1\.1 4\d\d /);
  expect((await fetch(`${gateway.url}/livez`)).status).toBe(200);
  expect(await idle).toBe('');
});
