/** A message that is on its way over HTTP when the gateway stops is stored before the data folder is given back. */
import { existsSync } from 'node:fs';
import { type ClientRequest, request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startTestGateway } from '../../support/gateway.ts';
import { makeFolder } from '../storage/storage-fixture.ts';

const BODY = JSON.stringify({ body: 'late', retain: true });

const isListening = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });

function statusOf(publish: ClientRequest): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    publish.once('error', reject);
    publish.once('response', (response) => {
      response.resume();
      resolve(response.statusCode);
    });
  });
}

it('is there at the next start', async () => {
  const folder = makeFolder();
  const gateway = await startTestGateway({ folder });
  const { http } = gateway.ports;
  // What serves is loaded with the first request.
  expect((await fetch(`${gateway.url}/v1/retained`)).status).toBe(200);
  const headers = { 'content-type': 'application/json', 'content-length': BODY.length };
  const publish = request({
    host: '127.0.0.1',
    port: http,
    path: '/v1/messages/a/b',
    method: 'POST',
    headers,
  });
  const status = statusOf(publish);
  publish.write(BODY.slice(0, 5));
  // The gateway has it when it answers a request that came after.
  expect((await fetch(`${gateway.url}/readyz`)).status).toBe(200);
  const stopped = gateway.stop();
  await expect.poll(() => isListening(http), { interval: 1 }).toBe(false);
  expect(existsSync(join(folder, 'lock'))).toBe(true);
  publish.end(BODY.slice(5));
  expect(await status).toBe(200);
  await stopped;
  const again = await startTestGateway({ folder });
  const found = await fetch(`${again.url}/v1/retained/a/b`);
  expect(await found.json()).toMatchObject({ body: 'late' });
  await again.stop();
});
