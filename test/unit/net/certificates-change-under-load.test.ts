/** Certificates change while clients come and stay: no connection is lost, new ones get the new certificate. */
import { once } from 'node:events';
import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { TlsSettings } from '../../../src/net/tls-settings.ts';
import { createAuthority, type Issued, writeFolder } from '../../support/certificates.ts';
import { type NetWorld, openNetWorld, type RecordingHandler, readBytes } from './net-world.ts';

const authority = createAuthority('Test authority');
const names = ['dns:localhost', 'ip:127.0.0.1'];
const issue = (commonName: string): Issued => authority.issue({ commonName, names });
const old = issue('old');
const fresh = issue('fresh');

let folder: string;
let world: NetWorld;
beforeEach(() => {
  folder = writeFolder({
    'server.pem': old.certificate,
    'server.key': old.key,
    'authority.pem': authority.certificate,
    'revoked.pem': authority.revocationList([]),
  });
});
afterEach(async () => {
  await world.close();
  rmSync(folder, { recursive: true });
});

const file = (name: string): string => join(folder, name);
const certificates = () => [{ certificateFile: file('server.pem'), keyFile: file('server.key') }];
const openWorld = async (
  tls: Partial<TlsSettings> = {},
  asked: 'none' | 'require' = 'none',
): Promise<void> => {
  const settings = { certificates: certificates(), reloadCheckMs: 50, ...tls };
  world = await openNetWorld({ tls: { clientCertificate: asked }, connectionsMax: 10_000 }, {}, settings);
};

async function open(
  options: ConnectionOptions = {},
): Promise<{ readonly socket: TLSSocket; readonly handler: RecordingHandler }> {
  const accepted = world.accepted();
  const socket = connect({ port: world.port, host: '127.0.0.1', ca: authority.certificate, ...options });
  await once(socket, 'secureConnect');
  const handler = await accepted;
  handler.onReceived = (chunk) => handler.transport.write(chunk);
  return { socket, handler };
}

async function shown(): Promise<unknown> {
  const { socket } = await open();
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return CN;
}

function put(issued: Issued): void {
  writeFileSync(file('server.pem'), issued.certificate);
  writeFileSync(file('server.key'), issued.key);
}

const textsOf = (level: string): string[] =>
  world.logged.filter((line) => line.level === level).map(({ text }) => text);

it('under load no connection is lost, and every later one gets the new certificate', async () => {
  await openWorld();
  const kept = await Promise.all(Array.from({ length: 20 }, () => open()));
  let isOver = false;
  let echoes = 0;
  const load = kept.map(async ({ socket }) => {
    while (!isOver) {
      socket.write('0123456789');
      await readBytes(socket, 10);
      echoes++;
    }
  });
  const comers = async (): Promise<void> => {
    while (!isOver) expect(await shown()).toMatch(/^(old|fresh)$/);
  };
  const coming = comers();
  for (const issued of [fresh, old, fresh]) {
    put(issued);
    await expect.poll(shown, { timeout: 10_000 }).toBe(issued === fresh ? 'fresh' : 'old');
  }
  isOver = true;
  await Promise.all([...load, coming]);
  expect(echoes).toBeGreaterThan(20);
  expect(kept.every(({ handler }) => handler.closedWith.length === 0)).toBe(true);
  expect(kept[0]?.socket.getPeerCertificate().subject.CN).toBe('old');
  expect(world.network.counters.refused.get('test')).toBe(0);
  expect(textsOf('info')).toContain('TLS files read again');
  for (const { socket } of kept) socket.destroy();
});

it('a broken file changes nothing, and the log says so once', async () => {
  await openWorld();
  writeFileSync(file('server.key'), 'no key at all');
  await expect.poll(() => textsOf('error').length).toBe(1);
  expect(await shown()).toBe('old');
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(world.logged.filter(({ level }) => level === 'error')).toMatchObject([
    { details: { detail: expect.stringMatching(/^tls\.certificates, entry 1: /) } },
  ]);
  put(fresh);
  await expect.poll(shown).toBe('fresh');
});

it('a certificate that came before its key is not used without it', async () => {
  await openWorld();
  writeFileSync(file('server.pem'), fresh.certificate);
  await expect.poll(() => textsOf('error').length).toBe(1);
  expect(await shown()).toBe('old');
  writeFileSync(file('server.key'), fresh.key);
  await expect.poll(shown).toBe('fresh');
});

it('is read again when told, without waiting', async () => {
  await openWorld({ reloadCheckMs: 3_600_000 });
  put(fresh);
  expect(await world.network.certificates.reload()).toBe(true);
  expect(await shown()).toBe('fresh');
  rmSync(file('server.pem'));
  expect(await world.network.certificates.reload()).toBe(false);
  expect(await shown()).toBe('fresh');
});

it('a symbolic link that is swapped counts as a change', async () => {
  for (const name of ['server.pem', 'server.key']) {
    renameSync(file(name), file(`1-${name}`));
    symlinkSync(`1-${name}`, file(name));
  }
  await openWorld();
  writeFileSync(file('2-server.pem'), fresh.certificate);
  writeFileSync(file('2-server.key'), fresh.key);
  for (const name of ['server.pem', 'server.key']) {
    symlinkSync(`2-${name}`, file('next'));
    renameSync(file('next'), file(name));
  }
  await expect.poll(shown).toBe('fresh');
});

it('a certificate that is revoked meanwhile is refused, also with a ticket from before', async () => {
  const clientAuthoritiesFile = file('authority.pem');
  await openWorld({ clientAuthoritiesFile, revocationListFile: file('revoked.pem') }, 'require');
  const device = issue('device');
  const proof = { cert: device.certificate, key: device.key };
  const { socket, handler } = await open(proof);
  const got = once(socket, 'session');
  handler.transport.write(Buffer.from('x'));
  const [session] = (await got) as [Buffer];
  writeFileSync(file('revoked.pem'), authority.revocationList([device]));
  await expect.poll(() => textsOf('info')).toContain('TLS files read again');
  const again = connect({
    port: world.port,
    host: '127.0.0.1',
    ca: authority.certificate,
    ...proof,
    session,
  });
  again.on('error', () => {});
  again.resume();
  await new Promise((resolve) => again.on('close', resolve));
  expect(world.network.counters.refused.get('test')).toBe(1);
  expect(world.network.counters.accepted.get('test')).toBe(1);
  expect(handler.closedWith).toEqual([]);
  socket.destroy();
});

it('files that cannot be used keep the gateway from starting, with the setting named', async () => {
  await openWorld();
  writeFileSync(file('server.key'), fresh.key);
  const opened = openNetWorld({ tls: { clientCertificate: 'none' } }, {}, { certificates: certificates() });
  await expect(opened).rejects.toThrow(/^tls\.certificates, entry 1: .*key values mismatch/);
});
