/** How the MQTT driver connects: to real Mosquitto brokers, and to a gateway of its own kind. */
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { createAuthority } from '../../support/certificates.ts';
import { startTestGateway } from '../../support/gateway.ts';
import { pickPort } from '../../support/ports.ts';
import { describeWith, waitFor } from '../programs.ts';
import { startMosquitto } from './mosquitto.ts';
import { batchOf, GATEWAY_ID, KeepingSink, type LinkChanges, openLink } from './mqtt-links.ts';

const message = batchOf([{ address: 'a', body: Buffer.from('x'), reliability: 1 }]);

/** One message there and back. */
async function passes(url: string, changes: LinkChanges = {}): Promise<void> {
  const inward = await openLink('in', url, { ...changes, name: 'in' });
  const sink = new KeepingSink();
  await inward.receive(['a'], sink);
  const outward = await openLink('out', url, { ...changes, name: 'out' });
  expect(await outward.send(message)).toEqual([null]);
  await waitFor('the message', () => sink.messages.length > 0);
}

describeWith(['mosquitto'], 'a connection to Mosquitto', () => {
  it('is let in by its password only', async () => {
    const broker = await startMosquitto(['password_file FOLDER/passwords', 'allow_anonymous false'], {
      passwords: 'ann:correct horse\n',
    });
    execFileSync('mosquitto_passwd', ['-U', join(broker.folder, 'passwords')], { stdio: 'ignore' });
    await broker.end('SIGTERM');
    await broker.start();
    for (const version of ['5', '3.1.1']) {
      const user = { version, user: 'ann' };
      await passes(broker.url, { connection: { ...user, password: 'correct horse' } });
      const refused = openLink('out', broker.url, { connection: { ...user, password: 'battery staple' } });
      await expect(refused).rejects.toMatchObject({ failure: 'authentication' });
      await expect(openLink('in', broker.url, { connection: { version } })).rejects.not.toThrow('battery');
    }
  });

  it('trusts whom it is told to, over TLS and WebSocket', async () => {
    const authority = createAuthority('ours');
    const server = authority.issue({ commonName: 'broker', names: ['dns:localhost', 'ip:127.0.0.1'] });
    const client = authority.issue({ commonName: 'ann' });
    const ports = {
      tls: await pickPort(),
      mutual: await pickPort(),
      web: await pickPort(),
      secure: await pickPort(),
    };
    const secured = ['cafile FOLDER/ca.pem', 'certfile FOLDER/server.pem', 'keyfile FOLDER/server.key'];
    const broker = await startMosquitto(
      [
        'allow_anonymous true',
        `listener ${ports.tls} 127.0.0.1`,
        ...secured,
        `listener ${ports.mutual} 127.0.0.1`,
        ...secured,
        'require_certificate true',
        `listener ${ports.web} 127.0.0.1`,
        'protocol websockets',
        `listener ${ports.secure} 127.0.0.1`,
        'protocol websockets',
        ...secured,
      ],
      { 'ca.pem': authority.certificate, 'server.pem': server.certificate, 'server.key': server.key },
    );
    expect(broker.output).not.toContain('Error');
    const trusted = { enabled: true, verify: true, ca: authority.certificate };
    await passes(`mqtts://127.0.0.1:${ports.tls}`, { connection: { tls: { ...trusted, enabled: false } } });
    await passes(`mqtt://localhost:${ports.tls}`, { connection: { tls: trusted } });
    const own = { ...trusted, certificate: client.certificate, key: client.key };
    await passes(`mqtts://127.0.0.1:${ports.mutual}`, { connection: { tls: own } });
    await passes(`ws://127.0.0.1:${ports.web}`);
    await passes(`wss://127.0.0.1:${ports.secure}/mqtt`, { connection: { tls: trusted } });

    const wrong = { ...trusted, ca: createAuthority('theirs').certificate };
    for (const [url, tls] of [
      [`mqtts://127.0.0.1:${ports.tls}`, wrong],
      [`wss://127.0.0.1:${ports.secure}`, wrong],
      [`mqtts://127.0.0.1:${ports.tls}`, { ...trusted, serverName: 'another' }],
      [`mqtts://127.0.0.1:${ports.mutual}`, trusted],
      [`mqtts://127.0.0.1:${broker.port}`, trusted],
    ] as const) {
      await expect(openLink('out', url, { connection: { tls } })).rejects.toMatchObject({ failure: 'tls' });
    }
  });

  it('tries its addresses in turn, and says what is wrong with the last', async () => {
    const broker = await startMosquitto();
    const nobody = `mqtt://127.0.0.1:${await pickPort()}`;
    await passes('mqtt://127.0.0.1:1', {
      connection: { urls: [nobody, 'mqtt://no.such.host.invalid:1', broker.url] },
    });
    for (const url of [nobody, 'mqtt://no.such.host.invalid:1', `ws://127.0.0.1:${await pickPort()}`]) {
      await expect(openLink('out', url)).rejects.toMatchObject({ failure: 'unreachable' });
    }
  });

  it('is given up after its time, or when it is no longer wanted', async () => {
    const silent = createServer(() => {});
    onTestFinished(() => void silent.close());
    const port = await new Promise<number>((resolve) => {
      silent.listen(0, '127.0.0.1', () => resolve((silent.address() as { port: number }).port));
    });
    for (const url of [`mqtt://127.0.0.1:${port}`, `mqtts://127.0.0.1:${port}`, `ws://127.0.0.1:${port}`]) {
      const connection = { connectTimeoutMs: 500 };
      await expect(openLink('out', url, { connection })).rejects.toMatchObject({ failure: 'timeout' });
      const wanted = new AbortController();
      const opening = openLink('out', url, { signal: wanted.signal });
      wanted.abort();
      await expect(opening).rejects.toMatchObject({ message: 'given up' });
    }
  });
});

describeWith([], 'a connection to a gateway of the same kind', () => {
  it('tells who the other side is, to bridges alone', async () => {
    const gateway = await startTestGateway();
    onTestFinished(() => gateway.stop());
    const url = `mqtt://127.0.0.1:${gateway.ports.mqtt}`;
    await passes(url);
    const link = await openLink('out', url);
    expect(link.peer).toMatch(/^[0-9a-f]{32}$/);
    expect(link.peer).not.toBe(GATEWAY_ID);
    const older = await openLink('out', url, { connection: { version: '3.1.1' } });
    expect(older.peer).toBeNull();
  });

  it('passes everything on, one by one and in order', async () => {
    const gateway = await startTestGateway();
    onTestFinished(() => gateway.stop());
    const url = `mqtt://127.0.0.1:${gateway.ports.mqtt}`;
    const sink = new KeepingSink();
    const inward = await openLink('in', url, { name: 'in' });
    await inward.receive(['#'], sink);
    const outward = await openLink('out', url, { options: { topicAliases: 10 } });
    const fields = Array.from({ length: 1000 }, (_, at) => ({
      address: `a/${at % 20}`,
      body: Buffer.from(String(at)),
      reliability: (at % 3) as 0 | 1 | 2,
      key: Buffer.from(`key ${at}`),
    }));
    expect((await outward.send(batchOf(fields))).every((answer) => answer === null)).toBe(true);
    await waitFor('all', () => sink.messages.length >= 1000);
    const read = sink.messages.map(({ address, key, body }) => [
      address,
      Buffer.from(key!).toString(),
      Buffer.from(body).toString(),
    ]);
    expect(read.sort()).toEqual(
      fields.map(({ address, key, body }) => [address, key.toString(), body.toString()]).sort(),
    );
  });
});
