/** Until somebody asks for more than health, probes are answered by hand; then the API takes over, connections and all. */
import { connect, type Socket } from 'node:net';
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
  readonly port: number;
  readonly asked: string[];
  readonly passedOn: Socket[];
}

async function open(requestTimeoutMs = 1_000): Promise<Opened> {
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
    more: (socket) => passedOn.push(socket),
  });
  close.push(() => {
    for (const socket of passedOn) socket.destroy();
    server.close();
  });
  return { port: (server.address() as { port: number }).port, asked, passedOn };
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
