/** What `/readyz` of a gateway says while the broker of a bridge that it requires is there, goes and comes back. */
import { connectAsync } from 'mqtt';
import { expect, it, onTestFinished } from 'vitest';
import { spawnGateway } from '../../support/gateway.ts';
import { describeWith, waitFor } from '../programs.ts';
import { startMosquitto } from './mosquitto.ts';

interface Readiness {
  readonly code: number;
  readonly failing: readonly string[];
  readonly details: Readonly<Record<string, string>>;
}

async function readinessAt(url: string): Promise<Readiness> {
  const response = await fetch(`${url}/readyz?verbose`);
  const body = (await response.json()) as {
    readonly failing: readonly string[];
    readonly checks: readonly { readonly name: string; readonly detail?: string }[];
  };
  const details = Object.fromEntries(body.checks.map(({ name, detail = '' }) => [name, detail]));
  return { code: response.status, failing: body.failing, details };
}

describeWith(['mosquitto'], 'readiness', () => {
  it('fails with the name of the required bridge, until its broker is back', async () => {
    const broker = await startMosquitto();
    const bridge = {
      connection: 'plant',
      direction: 'out',
      mappings: [{ pattern: 'devices/#' }],
      retry: { minMs: 50, maxMs: 200 },
    };
    const absent = { type: 'mqtt', urls: ['mqtt://127.0.0.1:1'] };
    const gateway = await spawnGateway({
      settings: {
        connections: JSON.stringify({ plant: { type: 'mqtt', urls: [broker.url] }, absent }),
        bridges: JSON.stringify({
          needed: { ...bridge, required: true },
          // Never connected, and nobody waits for it.
          other: { ...bridge, connection: 'absent' },
        }),
      },
    });
    onTestFinished(() => gateway.stop());
    const untilCode = (what: string, code: number): Promise<Readiness> =>
      waitFor(what, async () => {
        const readiness = await readinessAt(gateway.url);
        return readiness.code === code && readiness;
      });
    expect((await untilCode('readiness', 200)).failing).toEqual([]);

    await broker.end('SIGKILL');
    await untilCode('the loss to be told', 503);
    const refused = await waitFor('that it tries in vain', async () => {
      const readiness = await readinessAt(gateway.url);
      return readiness.details['bridge:needed'] === 'disconnected' && readiness;
    });
    expect(refused).toMatchObject({ code: 503, failing: ['bridge:needed'] });
    // Names and addresses of the other side are for those who may look at bridges.
    await waitFor('the reason', async () => {
      const answer = await fetch(`${gateway.url}/v1/bridges/needed`);
      return ((await answer.json()) as { status: { reason: string } }).status.reason.includes('ECONNREFUSED');
    });
    // Clients that come nevertheless are served, and what is for the broker waits.
    const device = await connectAsync(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, { protocolVersion: 5 });
    onTestFinished(() => device.endAsync(true));
    await device.publishAsync('devices/d7', '21.5', { qos: 1 });
    expect((await fetch(`${gateway.url}/livez`)).status).toBe(200);
    expect((await fetch(`${gateway.url}/readyz`)).status).toBe(503);

    await broker.start();
    expect((await untilCode('readiness again', 200)).failing).toEqual([]);
    await waitFor('what waited', async () => {
      const answer = await fetch(`${gateway.url}/v1/bridges/needed`);
      const { status } = (await answer.json()) as { status: { counters: { done: number } } };
      return status.counters.done === 1;
    });
  });
});
