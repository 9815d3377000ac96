/** Connections that a proxy hands on: the header says whose they are, and nobody but a trusted proxy may say it. */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterEach, expect, it } from 'vitest';
import type { ListenerSpec } from '../../../src/host.ts';
import type { NetworkSettings } from '../../../src/net/settings.ts';
import { createAuthority, writeFolder } from '../../support/certificates.ts';
import { header2, tlsTlv } from '../../support/proxy-headers.ts';
import { type NetWorld, openNetWorld, readBytes } from './net-world.ts';

const LINE = 'PROXY TCP4 192.0.2.1 198.51.100.2 40000 1883\r\n';
let world: NetWorld;
afterEach(() => world.close());

const openWorld = async (
  settings: Partial<NetworkSettings> = {},
  spec: Partial<ListenerSpec> = {},
): Promise<void> => {
  world = await openNetWorld(
    { proxyProtocol: true, ...spec },
    { trustedProxies: ['127.0.0.0/8'], ...settings },
  );
};

async function dial(): Promise<Socket> {
  const socket = connect(world.port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

async function refusalOf(bytes: string | Buffer): Promise<unknown> {
  const socket = await dial();
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.on('close', resolve));
  socket.write(bytes);
  await closed;
  expect(world.network.counters.accepted.get('test')).toBe(0);
  expect(world.network.counters.refused.get('test')).toBe(1);
  return world.logged.find(({ text }) => text === 'connection refused')?.details.detail;
}

it.each([
  ['version 1', Buffer.from(LINE)],
  ['version 2', header2({ checksum: true })],
])('%s: the client has the addresses of the header, in one piece or byte by byte', async (_, header) => {
  await openWorld();
  const whole = await dial();
  whole.write(Buffer.concat([header, Buffer.from('first words')]));
  const handler = await world.accepted();
  expect(handler.transport).toMatchObject({
    remoteAddress: '192.0.2.1',
    remotePort: 40_000,
    localAddress: '198.51.100.2',
    localPort: 1883,
  });
  await expect.poll(() => Buffer.concat(handler.chunks).toString()).toBe('first words');
  handler.transport.write(Buffer.from('answer'));
  expect((await readBytes(whole, 6)).toString()).toBe('answer');
  whole.write('second');
  await expect.poll(() => Buffer.concat(handler.chunks).toString()).toBe('first wordssecond');

  const drops = await dial();
  drops.setNoDelay(true);
  for (const byte of header) {
    drops.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  const slow = await world.accepted();
  expect(slow.transport.remoteAddress).toBe('192.0.2.1');
  drops.write('late');
  await expect.poll(() => Buffer.concat(slow.chunks).toString()).toBe('late');
  whole.destroy();
  drops.destroy();
});

it('the proxy itself keeps its own address', async () => {
  await openWorld();
  const socket = await dial();
  socket.write(header2({ command: 0x20, family: 0, addresses: Buffer.alloc(0) }));
  const { transport } = await world.accepted();
  expect(transport.remoteAddress).toBe('127.0.0.1');
  expect(transport.remotePort).toBe(socket.localPort);
  socket.destroy();
});

it('a verified name counts only where the settings say so', async () => {
  const header = header2({ tlvs: [tlsTlv('device-1')] });
  for (const trustProxyCertificate of [false, true]) {
    await openWorld({ trustProxyCertificate });
    const socket = await dial();
    socket.write(header);
    const { transport } = await world.accepted();
    expect(transport.certificate?.commonName ?? null).toBe(trustProxyCertificate ? 'device-1' : null);
    socket.destroy();
    if (!trustProxyCertificate) await world.close();
  }
});

it('a name that a proxy has verified goes on counting, whatever authorities there are here', async () => {
  await openWorld({ trustProxyCertificate: true });
  const socket = await dial();
  socket.write(header2({ tlvs: [tlsTlv('device-1')] }));
  const { transport } = await world.accepted();
  expect(world.network.certificates.clientTrust.isTrusted(transport.certificate!)).toBe(true);
  socket.destroy();
});

it('comes before TLS', async () => {
  const authority = createAuthority('Test authority');
  const { certificate, key } = authority.issue({ commonName: 'server', names: ['ip:127.0.0.1'] });
  const folder = writeFolder({ 'server.pem': certificate, 'server.key': key });
  world = await openNetWorld(
    { proxyProtocol: true, tls: { clientCertificate: 'none' } },
    { trustedProxies: ['127.0.0.1'] },
    { certificates: [{ certificateFile: join(folder, 'server.pem'), keyFile: join(folder, 'server.key') }] },
  );
  const raw = await dial();
  raw.write(LINE);
  const socket = connectTls({ socket: raw, ca: authority.certificate, host: '127.0.0.1' });
  await once(socket, 'secureConnect');
  const handler = await world.accepted();
  expect(handler.transport.remoteAddress).toBe('192.0.2.1');
  socket.write('inside');
  await expect.poll(() => Buffer.concat(handler.chunks).toString()).toBe('inside');
  socket.destroy();
  rmSync(folder, { recursive: true });
});

it('comes before a WebSocket, also in the same piece', async () => {
  await openWorld({}, { transport: 'websocket', path: '/wire' });
  const socket = await dial();
  const request =
    'GET /wire HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';
  // A masked binary frame with the one byte `x`, under a mask of zeros.
  socket.write(Buffer.concat([Buffer.from(LINE + request), Buffer.from([0x82, 0x81, 0, 0, 0, 0, 0x78])]));
  const handler = await world.accepted();
  expect(handler.transport).toMatchObject({ remoteAddress: '192.0.2.1', localPort: 1883 });
  await expect.poll(() => Buffer.concat(handler.chunks).toString()).toBe('x');
  socket.destroy();
});

it('bounds clients by their own address', async () => {
  await openWorld({ connectionsPerAddressMax: 1 });
  const sockets: Socket[] = [];
  for (const client of [1, 1, 2]) {
    const socket = await dial();
    socket.on('error', () => {});
    socket.write(`PROXY TCP4 192.0.2.${client} 198.51.100.2 40000 1883\r\n`);
    sockets.push(socket);
  }
  const { counters } = world.network;
  await expect.poll(() => counters.accepted.get('test')).toBe(2);
  expect(counters.refused.get('test')).toBe(1);
  for (const socket of sockets) socket.destroy();
});

it('what is no header, or a wrong one, ends the connection with its reason', async () => {
  await openWorld();
  expect(await refusalOf('GET / HTTP/1.1\r\n\r\n')).toBe('no PROXY header');
});

it('a header that does not come is not waited for', async () => {
  await openWorld({ handshakeTimeoutMs: 100 });
  expect(await refusalOf('PROXY TCP4 ')).toBe('took too long');
});

it('nobody else may say whose a connection is', async () => {
  await openWorld({ trustedProxies: ['192.0.2.0/24'] });
  expect(await refusalOf(LINE)).toBe('not from a proxy in network.trustedProxies');
});

it('a listener that believes nobody does not open', async () => {
  world = await openNetWorld();
  await expect(openNetWorld({ proxyProtocol: true })).rejects.toThrow('network.trustedProxies');
});

it('addresses of one IPv6 network count as one', async () => {
  await openWorld({ connectionsPerAddressMax: 1 });
  const { counters } = world.network;
  const sockets = await Promise.all([dial(), dial(), dial()]);
  for (const [at, source] of ['2001:db8::1', '2001:db8:0:1::1', '2001:db8::ffff:2'].entries()) {
    sockets[at]?.on('error', () => {}).write(`PROXY TCP6 ${source} ::1 1000 2000\r\n`);
    const sum = (): number => (counters.accepted.get('test') ?? 0) + (counters.refused.get('test') ?? 0);
    await expect.poll(sum).toBe(at + 1);
  }
  expect(counters.accepted.get('test')).toBe(2);
  for (const socket of sockets) socket.destroy();
});
