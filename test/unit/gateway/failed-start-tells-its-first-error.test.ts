/** A start that fails says why, also where taking back what it had begun fails as well. */
import { rmSync } from 'node:fs';
import { expect, it } from 'vitest';
import { loadConfig } from '../../../src/config/index.ts';
import { startGateway } from '../../../src/gateway.ts';
import { configShape, gatewayParts } from '../../../src/main.ts';
import { makeDataFolder } from '../../support/gateway.ts';

it('the first error counts', async () => {
  const folder = makeDataFolder();
  const config = loadConfig(configShape, {
    file: '/dev/null',
    environment: {},
    assignments: [`storage.folder=${folder}`, 'log.level=silent', 'http.enabled=false'],
    flags: {},
  });
  const adapter = (start: () => Promise<void>, stop: () => Promise<void>) => ({
    section: 'mqtt',
    create: async () => ({
      name: 'any',
      listeners: [],
      start,
      stop,
      connect: () => {
        throw new Error('nobody connects');
      },
    }),
  });
  const well = async (): Promise<void> => {};
  const badly = (what: string) => async (): Promise<void> => {
    throw new Error(what);
  };
  const parts = {
    ...gatewayParts,
    adapters: [adapter(well, badly('cannot stop')), adapter(badly('cannot start'), well)],
  };
  try {
    await expect(startGateway(parts, config)).rejects.toThrow('cannot start');
    // The data folder was given back all the same.
    const again = { ...gatewayParts, adapters: [adapter(well, well)] };
    await (await startGateway(again, config)).stop();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
