/** Between the first request that asks for more than health and the API that answers it, clients leave and the gateway stops. */
import { connect, type Socket } from 'node:net';
import { expect, it, vi } from 'vitest';
// Loaded beforehand: a stop does not wait long.
import '../../../src/admin/server.ts';
import { FakeGateway } from './admin-with-fake-core.ts';

const gate = vi.hoisted(() => {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
});
vi.mock('../../../src/admin/serving.ts', async (importOriginal) => {
  await gate.opened;
  return await importOriginal();
});

const begun = (port: number, text: string): Promise<Socket> =>
  new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () =>
      socket.write(text, () => resolve(socket)),
    );
  });

const textOf = (socket: Socket): Promise<string> =>
  new Promise((resolve) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.on('end', () => {
      resolve(text);
      socket.end();
    });
  });

it('then the listening socket is closed, and whoever waited is answered first', async () => {
  const { admin } = await new FakeGateway().start();
  const { port } = admin.address as { port: number };
  const waiting = await begun(port, 'GET /v1/queues HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
  const answer = textOf(waiting);
  const broken = await begun(port, 'POST / HTTP/1.1\r\n');
  // A probe that is answered came behind both.
  const probe = await begun(port, 'GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
  expect(await textOf(probe)).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  broken.resetAndDestroy();

  const stopped = admin.stop();
  gate.open();
  expect(await answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  await stopped;
  const failure = await new Promise((resolve) => {
    const late = connect(port, '127.0.0.1', () => {
      late.destroy();
      resolve(null);
    });
    late.once('error', resolve);
  });
  expect(failure).toMatchObject({ code: 'ECONNREFUSED' });
});
