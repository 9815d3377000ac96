/** SIGHUP: users, rules and certificates are read again, and the gateway goes on; what is wrong in a file changes nothing. */
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterEach, expect, it } from 'vitest';
import { passwordHashOf } from '../../../src/auth/password-hash.ts';
import { createAuthority, writeFolder } from '../../support/certificates.ts';
import { type SpawnedGateway, spawnGateway } from '../../support/gateway.ts';

let gateway: SpawnedGateway;
let folder: string;
afterEach(async () => {
  await gateway.stop();
  rmSync(folder, { recursive: true });
});

async function shownCertificate(port: number): Promise<unknown> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return CN;
}

const namesOf = async (path: string): Promise<string[]> => {
  const { items } = (await (await fetch(`${gateway.url}${path}`)).json()) as { items: { name: string }[] };
  return items.map(({ name }) => name);
};

it.skipIf(process.platform === 'win32')('reads what has changed, and leaves the rest', async () => {
  const authority = createAuthority('Servers');
  const [before, after] = ['before', 'after'].map((commonName) => authority.issue({ commonName }));
  const hash = await passwordHashOf(Buffer.from('secret'), 10);
  folder = writeFolder({
    'server.pem': before?.certificate ?? '',
    'server.key': before?.key ?? '',
    users: `ann:${hash}\n`,
    acl: 'pattern read a\n',
  });
  const file = (name: string): string => join(folder, name);
  gateway = await spawnGateway({
    settings: {
      'auth.passwordFile': file('users'),
      'auth.acl.file': file('acl'),
      'tls.certificates': JSON.stringify([
        { certificateFile: file('server.pem'), keyFile: file('server.key') },
      ]),
      // Only when it is told.
      'tls.reloadCheckMs': 60_000,
      'mqtt.tls.port': 0,
      'mqtt.websocket.tls.port': 0,
      'amqp091.tls.port': 0,
      'kafka.tls.port': 0,
    },
  });
  const port = Number(/"mqtt-tls":"[^"]*:(\d+)"/.exec(gateway.output())?.[1]);
  expect(await shownCertificate(port)).toBe('before');
  expect(await namesOf('/v1/users')).toEqual(['ann']);

  writeFileSync(file('server.pem'), after?.certificate ?? '');
  writeFileSync(file('server.key'), after?.key ?? '');
  writeFileSync(file('users'), `ann:${hash}\nbob:${hash}\n`);
  writeFileSync(file('acl'), 'pattern reed a\n');
  process.kill(gateway.pid, 'SIGHUP');
  await expect.poll(() => gateway.output(), { timeout: 5_000 }).toContain('"msg":"files were read again"');
  expect(await shownCertificate(port)).toBe('after');
  expect(await namesOf('/v1/users')).toEqual(['ann', 'bob']);
  expect(gateway.output()).toContain(`${file('acl')}:1`);
  expect(gateway.output()).not.toContain(hash);
  expect(await gateway.kill('SIGTERM')).toBe(0);
});
