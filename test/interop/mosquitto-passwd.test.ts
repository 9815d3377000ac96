/** Password files that the installed mosquitto_passwd writes let their users in. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { expect, it } from 'vitest';
import { startTestGateway } from '../support/gateway.ts';

it('users of every kind of hash that it knows come in', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rosettamq-passwd-'));
  const file = join(folder, 'passwords');
  execFileSync('mosquitto_passwd', ['-c', '-b', '-H', 'sha512', file, 'old', 'geheim']);
  execFileSync('mosquitto_passwd', ['-b', '-H', 'sha512-pbkdf2', file, 'new', 'geheim']);
  const gateway = await startTestGateway({ settings: { 'auth.passwordFile': file } });
  const open = (username: string, password: string) =>
    connectAsync(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, { username, password, reconnectPeriod: 0 });
  try {
    for (const user of ['old', 'new']) {
      await (await open(user, 'geheim')).endAsync();
      await expect(open(user, 'wrong')).rejects.toThrow();
    }
  } finally {
    await gateway.stop();
    rmSync(folder, { recursive: true });
  }
});
