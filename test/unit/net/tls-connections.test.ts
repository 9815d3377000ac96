/** TLS: the transport keeps its promises over it, the name picks the certificate, and only clients that prove it get in. */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import type { ListenerSpec } from '../../../src/host.ts';
import type { NetworkSettings } from '../../../src/net/settings.ts';
import type { TlsSettings } from '../../../src/net/tls-settings.ts';
import { createAuthority, writeFolder } from '../../support/certificates.ts';
import { type NetWorld, openNetWorld, type RecordingHandler, readBytes } from './net-world.ts';

const authority = createAuthority('Test authority');
const stranger = createAuthority('Another authority');
const first = authority.issue({ commonName: 'first', names: ['dns:localhost', 'ip:127.0.0.1'] });
const second = authority.issue({ commonName: 'second', names: ['dns:*.example.com', 'dns:example.com'] });
const client = authority.issue({
  commonName: 'device-1',
  names: ['dns:device-1.example.com', 'email:one@example.com', 'uri:urn:device,1', 'ip:10.0.0.1'],
});
const revoked = authority.issue({ commonName: 'revoked' });
const untrusted = stranger.issue({ commonName: 'device-1' });
const expired = authority.issue({ commonName: 'late', validToMs: Date.now() - 1000 });

const folder = writeFolder({
  'authority.pem': authority.certificate,
  'revoked.pem': authority.revocationList([revoked]),
  'first.pem': first.certificate,
  'first.key': first.key,
  'second.pem': second.certificate,
  'second.key': second.key,
});
afterAll(() => rmSync(folder, { recursive: true }));

const file = (name: string): string => join(folder, name);
const certificates = ['first', 'second'].map((name) => ({
  certificateFile: file(`${name}.pem`),
  keyFile: file(`${name}.key`),
}));

let world: NetWorld;
afterEach(() => world.close());

type ClientCertificate = NonNullable<ListenerSpec['tls']>['clientCertificate'];

async function openWorld(
  clientCertificate: ClientCertificate = 'none',
  tls: Partial<TlsSettings> = {},
  settings: Partial<NetworkSettings> = {},
  spec: Partial<ListenerSpec> = {},
): Promise<void> {
  const authorities = {
    clientAuthoritiesFile: file('authority.pem'),
    revocationListFile: file('revoked.pem'),
  };
  world = await openNetWorld({ tls: { clientCertificate }, ...spec }, settings, {
    certificates,
    ...authorities,
    ...tls,
  });
}

async function open(
  options: ConnectionOptions = {},
): Promise<{ readonly socket: TLSSocket; readonly handler: RecordingHandler }> {
  const accepted = world.accepted();
  const socket = connect({ port: world.port, host: '127.0.0.1', ca: authority.certificate, ...options });
  await once(socket, 'secureConnect');
  return { socket, handler: await accepted };
}

/** Why the gateway turned a client away. */
async function refusalOf(options: ConnectionOptions): Promise<unknown> {
  const socket = connect({ port: world.port, host: '127.0.0.1', ca: authority.certificate, ...options });
  socket.on('error', () => {});
  socket.resume();
  await new Promise((resolve) => socket.on('close', resolve));
  await expect.poll(() => world.network.counters.refused.get('test')).toBe(1);
  expect(world.network.counters.accepted.get('test')).toBe(0);
  return world.logged.find(({ text }) => text === 'connection refused')?.details.detail;
}

describe('a connection over TLS', () => {
  it('carries bytes both ways, and ends with the last words', async () => {
    await openWorld();
    const { socket, handler } = await open();
    handler.onReceived = (chunk) => handler.transport.write(chunk);
    socket.write('hello');
    expect((await readBytes(socket, 5)).toString()).toBe('hello');
    expect(handler.transport.remoteAddress).toBe('127.0.0.1');
    expect(handler.transport.remotePort).toBe(socket.localPort);
    expect(handler.transport.localPort).toBe(world.port);
    expect(handler.transport.certificate).toBeNull();
    const ended = once(socket, 'end');
    const last = readBytes(socket, 3);
    handler.disconnect('shutting-down');
    expect((await last).toString()).toBe('bye');
    await ended;
    await expect.poll(() => world.network.connections.size).toBe(0);
    expect(handler.closedWith).toEqual(['shutting-down']);
  });

  it('gets large and many bytes in order, also when it reads slowly', async () => {
    await openWorld();
    const { socket, handler } = await open();
    socket.pause();
    const pieces = Array.from({ length: 600 }, (_, index) =>
      Buffer.alloc(index % 2 === 0 ? 50_000 : 100, index % 251),
    );
    for (const [index, piece] of pieces.entries()) {
      handler.transport.write(piece);
      if (index % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(handler.transport.pendingBytes).toBeGreaterThan(0);
    const expected = Buffer.concat(pieces);
    expect((await readBytes(socket, expected.length)).equals(expected)).toBe(true);
    await expect.poll(() => handler.transport.pendingBytes).toBe(0);
    await expect.poll(() => handler.drainedCount).toBeGreaterThan(0);
    socket.destroy();
    await expect.poll(() => handler.closedWith).toEqual(['connection-lost']);
  });

  it('gives its buffers back as soon as the kernel has the bytes', async () => {
    await openWorld();
    const { socket, handler } = await open();
    for (let i = 0; i < 20; i++) {
      handler.transport.write(Buffer.from('x'));
      await readBytes(socket, 1);
    }
    await expect.poll(() => world.network.pool.freeCount).toBeGreaterThan(0);
    expect(world.network.pool.freeCount).toBeLessThan(4);
    socket.destroy();
  });

  it('that the client ends lets what was written for it leave', async () => {
    await openWorld();
    const { socket, handler } = await open();
    handler.onReceived = () => handler.transport.write(Buffer.from('answer'));
    const answer = readBytes(socket, 6);
    socket.end('question');
    expect((await answer).toString()).toBe('answer');
    await expect.poll(() => world.network.connections.size).toBe(0);
    expect(handler.closedWith).toEqual(['connection-lost']);
  });

  it('does not wait for ever for a client that does not read', async () => {
    await openWorld('none', {}, { closeLingerMs: 100 });
    const { socket, handler } = await open();
    socket.pause();
    socket.on('error', () => {});
    handler.transport.write(Buffer.alloc(20_000_000));
    await new Promise((resolve) => setTimeout(resolve, 50));
    handler.transport.close('too-slow');
    await expect.poll(() => world.network.connections.size, { timeout: 3_000 }).toBe(0);
    socket.destroy();
  });

  it('carries WebSockets', async () => {
    await openWorld('request', {}, {}, { transport: 'websocket', path: '/wire' });
    const socket = new WebSocket(`wss://localhost:${world.port}/wire`, {
      ca: authority.certificate,
      cert: client.certificate,
      key: client.key,
    });
    const accepted = world.accepted();
    await once(socket, 'open');
    const handler = await accepted;
    handler.onReceived = (chunk) => handler.transport.write(chunk);
    socket.send('x'.repeat(70_000), { binary: true });
    const [data] = await once(socket, 'message');
    expect((data as Buffer).length).toBe(70_000);
    expect(handler.transport.certificate?.commonName).toBe('device-1');
    socket.terminate();
  });

  it('resumes its session', async () => {
    await openWorld('require');
    const proof = { cert: client.certificate, key: client.key };
    const { socket, handler } = await open(proof);
    const session = once(socket, 'session');
    handler.transport.write(Buffer.from('x'));
    const [ticket] = (await session) as [Buffer];
    const again = await open({ ...proof, session: ticket });
    expect(again.socket.isSessionReused()).toBe(true);
    expect(again.handler.transport.certificate?.commonName).toBe('device-1');
    socket.destroy();
    again.socket.destroy();
  });
});

describe('the certificate of the server', () => {
  const shown = async (servername: string): Promise<unknown> => {
    const { socket } = await open({ servername, checkServerIdentity: () => undefined });
    const { CN } = socket.getPeerCertificate().subject;
    socket.destroy();
    return CN;
  };

  it('is the one for the name that the client asks for, or else the first', async () => {
    await openWorld();
    expect(await shown('example.com')).toBe('second');
    expect(await shown('broker.EXAMPLE.com')).toBe('second');
    expect(await shown('deep.broker.example.com')).toBe('first');
    expect(await shown('localhost')).toBe('first');
    expect(await shown('elsewhere.org')).toBe('first');
  });

  it('is the one that the settings name', async () => {
    const [one, two] = certificates as [(typeof certificates)[0], (typeof certificates)[0]];
    await openWorld('none', { certificates: [one, { ...two, serverNames: ['broker.internal'] }] });
    expect(await shown('broker.internal')).toBe('second');
    expect(await shown('example.com')).toBe('first');
  });
});

describe('the certificate of a client', () => {
  it('tells who it is when it is verified', async () => {
    await openWorld('require');
    const { socket, handler } = await open({ cert: client.certificate, key: client.key });
    const own = socket.getX509Certificate();
    expect(handler.transport.certificate).toEqual({
      commonName: 'device-1',
      alternativeNames: [
        { kind: 'dns', value: 'device-1.example.com' },
        { kind: 'email', value: 'one@example.com' },
        { kind: 'uri', value: 'urn:device,1' },
        { kind: 'ip', value: '10.0.0.1' },
      ],
      fingerprint: own?.fingerprint256.replaceAll(':', '').toLowerCase(),
      expiresAtMs: own?.validToDate.getTime(),
    });
    socket.destroy();
  });

  it('may be left out where it is only requested', async () => {
    await openWorld('request');
    const { socket, handler } = await open();
    expect(handler.transport.certificate).toBeNull();
    socket.destroy();
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('must be there where it is required (%s)', async (version) => {
    await openWorld('require');
    const detail = await refusalOf({ maxVersion: version, minVersion: version });
    expect(detail).toBe('TLS: the client has no certificate, and must have one');
  });

  it.each(['request', 'require'] as const)('is refused when it is revoked (%s)', async (asked) => {
    await openWorld(asked);
    expect(await refusalOf({ cert: revoked.certificate, key: revoked.key })).toMatch(/CERT_REVOKED/);
  });

  it.each(['request', 'require'] as const)('is refused when nobody vouches for it (%s)', async (asked) => {
    await openWorld(asked);
    const detail = await refusalOf({ cert: untrusted.certificate, key: untrusted.key });
    expect(detail).toMatch(/certificate is refused: (UNABLE_TO|SELF_SIGNED|CERT_SIGNATURE)/);
  });

  it('is refused when it has expired', async () => {
    await openWorld('request');
    expect(await refusalOf({ cert: expired.certificate, key: expired.key })).toMatch(/CERT_HAS_EXPIRED/);
  });

  it('is refused when it has expired since its session began', async () => {
    await openWorld('require');
    const short = authority.issue({ commonName: 'short', validToMs: Date.now() + 2_000 });
    const proof = { cert: short.certificate, key: short.key };
    const { socket, handler } = await open(proof);
    const session = once(socket, 'session');
    handler.transport.write(Buffer.from('x'));
    const [ticket] = (await session) as [Buffer];
    socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    const again = connect({
      port: world.port,
      host: '127.0.0.1',
      ca: authority.certificate,
      ...proof,
      session: ticket,
    });
    let isReused = false;
    again.on('secureConnect', () => {
      isReused = again.isSessionReused();
    });
    again.on('error', () => {});
    await new Promise((resolve) => again.resume().on('close', resolve));
    expect(isReused).toBe(true);
    expect(world.network.counters).toMatchObject({ accepted: new Map([['test', 1]]) });
    const line = world.logged.find(({ text }) => text === 'connection refused');
    expect(line?.details.detail).toMatch(/CERT_HAS_EXPIRED/);
  });

  it('is not looked at where none is asked for', async () => {
    await openWorld('none');
    const { socket, handler } = await open({ cert: untrusted.certificate, key: untrusted.key });
    expect(handler.transport.certificate).toBeNull();
    socket.destroy();
  });

  it('is asked for only with authorities to hold it against', async () => {
    world = await openNetWorld();
    const opened = openNetWorld({ tls: { clientCertificate: 'request' } }, {}, { certificates });
    await expect(opened).rejects.toThrow('tls.clientAuthoritiesFile');
  });
});

describe('a handshake', () => {
  it('that fails is told to the log with its reason, and counted', async () => {
    await openWorld('none', { minVersion: 'TLSv1.3' });
    const socket = connectTcp(world.port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    const port = socket.localPort;
    socket.end('GET / HTTP/1.1\r\n\r\n');
    await expect.poll(() => world.network.counters.refused.get('test')).toBe(1);
    const line = world.logged.find(({ text }) => text === 'connection refused');
    expect(line?.details).toMatchObject({
      listener: 'test',
      remote: `127.0.0.1:${port}`,
      detail: expect.stringMatching(/^TLS handshake: /),
    });
    socket.destroy();
  });

  it('with a version that is too old fails', async () => {
    await openWorld('none', { minVersion: 'TLSv1.3' });
    expect(await refusalOf({ maxVersion: 'TLSv1.2' })).toMatch(/version|protocol/);
  });

  it('that does not come is not waited for', async () => {
    await openWorld('none', {}, { handshakeTimeoutMs: 100 });
    const socket = connectTcp(world.port, '127.0.0.1');
    await once(socket, 'close');
    expect(world.network.counters.refused.get('test')).toBe(1);
  });

  it('waits its turn when there are too many', async () => {
    await openWorld('none', { handshakesPerSecondMax: 20 });
    const begunMs = performance.now();
    const all = await Promise.all(Array.from({ length: 11 }, () => open()));
    expect(performance.now() - begunMs).toBeGreaterThan(400);
    for (const { socket } of all) socket.destroy();
  });

  it('under way does not keep the gateway from stopping', async () => {
    await openWorld();
    const socket = connectTcp(world.port, '127.0.0.1');
    await once(socket, 'connect');
    await new Promise((resolve) => setTimeout(resolve, 20));
    const closed = once(socket, 'close');
    world.network.stopListening();
    await closed;
  });
});

it('without a certificate does not listen', async () => {
  world = await openNetWorld({ tls: { clientCertificate: 'none' } });
  expect(world.network.listening('test')).toBeUndefined();
});
