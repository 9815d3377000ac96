/** The process of a gateway with bounded memory: bounded from its first moment, and still the same process. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { spawnGateway } from '../../support/gateway.ts';

it.skipIf(process.platform !== 'linux')('puts itself in its own place, with a bounded heap', async () => {
  // The flag alone means less, and is seen first: what the settings say holds, and no one goes back to the other.
  const gateway = await spawnGateway({
    entry: 'src/command.ts',
    args: ['--sidecar'],
    settings: { 'gateway.memoryMebibytes': 160 },
  });
  const command = readFileSync(`/proc/${gateway.pid}/cmdline`, 'utf8').split('\0');
  expect(command).toEqual(expect.arrayContaining(['--max-old-space-size=80', '--max-semi-space-size=1']));
  expect(gateway.output()).not.toContain('Warning');
  expect(await gateway.kill('SIGTERM')).toBe(0);
  await gateway.stop();
});
