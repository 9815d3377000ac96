/** The process: what an operator sees when it cannot start, and how signals end it. */
import { spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import mqtt from 'mqtt';
import { describe, expect, it } from 'vitest';
import { makeDataFolder, spawnGateway, startTestGateway } from '../../support/gateway.ts';

const MAIN = join(fileURLToPath(new URL('../../../', import.meta.url)), 'src/main.ts');

function run(...args: string[]) {
  const environment = Object.entries(process.env).filter(([name]) => !name.startsWith('ROSETTAMQ_'));
  return spawnSync(process.execPath, [MAIN, ...args], {
    encoding: 'utf8',
    env: Object.fromEntries(environment),
    timeout: 15_000,
  });
}

describe('a gateway that cannot start', () => {
  it('says which setting is wrong', () => {
    const { status, stderr } = run('validate', '--config', '/dev/null', '--set', 'storage.durabilty=os');
    expect(status).toBe(2);
    expect(stderr).toBe(
      '--set storage.durabilty: storage.durabilty is not a setting; did you mean storage.durability?\n',
    );
  });

  it('says so before it is started, where the HTTP API would be open to everybody', () => {
    const beyond = ['validate', '--config', '/dev/null', '--set', 'http.host=0.0.0.0'];
    const open = run(...beyond);
    expect(open).toMatchObject({ status: 2, stdout: '' });
    expect(open.stderr).toMatch(
      /^http\.host 0\.0\.0\.0 is reachable from other machines: set at least one key/,
    );
    const guarded = run(...beyond, '--set', 'http.roles.viewer.groups=staff');
    expect(guarded).toMatchObject({ status: 0, stdout: 'the settings are valid\n' });
  });

  it.each(['mqtt.websocket.port', 'http.port'])(
    'says that the port of %s is taken, in one line',
    async (setting) => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as { port: number };
      const started = startTestGateway({ settings: { [setting]: port } });
      await expect(started).rejects.toThrow(
        `127.0.0.1:${port} is in use by another program; stop it, or set ${setting}`,
      );
      server.close();
    },
  );

  it('says who has the data folder, and leaves it to them', async () => {
    const first = await spawnGateway();
    const failing = startTestGateway({ folder: first.folder });
    await expect(failing).rejects.toThrow(`${first.folder} belongs to process ${first.pid}`);
    const second = spawnGateway({ folder: first.folder });
    await expect(second).rejects.toThrow(/did not start: the data folder .* belongs to process/);
    expect((await fetch(`${first.url}/readyz`)).status).toBe(200);
    await first.stop();
  });
});

describe('a signal', () => {
  it('drains clients and ends with 0; the data is there at the next start', async () => {
    const folder = makeDataFolder();
    const first = await spawnGateway({ folder });
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${first.ports.mqtt}`, {
      protocolVersion: 5,
      reconnectPeriod: 0,
    });
    await client.publishAsync('a', 'kept', { qos: 1, retain: true });
    const told = new Promise((resolve) => client.on('disconnect', ({ reasonCode }) => resolve(reasonCode)));
    expect(await first.kill('SIGTERM')).toBe(0);
    expect(await told).toBe(0x8b);
    client.end(true);

    const second = await spawnGateway({ folder });
    expect(await second.kill('SIGKILL')).toBe('SIGKILL');
    const third = await startTestGateway({ folder });
    const reader = await mqtt.connectAsync(`mqtt://127.0.0.1:${third.ports.mqtt}`, { reconnectPeriod: 0 });
    const body = new Promise((resolve) => reader.on('message', (_topic, bytes) => resolve(bytes.toString())));
    await reader.subscribeAsync('a');
    expect(await body).toBe('kept');
    reader.end(true);
    await third.stop();
    await first.stop();
  });

  it('that comes twice ends the process at once', async () => {
    const gateway = await spawnGateway({ settings: { 'gateway.unreadyMs': 20_000 } });
    const ended = gateway.kill('SIGTERM');
    await expect.poll(() => gateway.output()).toContain('"msg":"stopping"');
    const readyz = await fetch(`${gateway.url}/readyz`);
    expect(readyz.status).toBe(503);
    gateway.process.kill('SIGINT');
    expect(await ended).toBe(1);
    await gateway.stop();
  });
});
