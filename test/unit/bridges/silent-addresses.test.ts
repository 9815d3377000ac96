/** Brokers with several addresses, of which the first says nothing for as long as a try to connect may take. */
import { createServer, type Socket } from 'node:net';
import Value from 'typebox/value';
import { expect, it, onTestFinished } from 'vitest';
import { createAmqp091BridgeDriver } from '../../../adapters/bridge-amqp091/index.ts';
import { createKafkaBridgeDriver } from '../../../adapters/bridge-kafka/index.ts';
import { createMqttBridgeDriver } from '../../../adapters/bridge-mqtt/index.ts';
import { SystemClock } from '../../../src/clock.ts';
import { AddressTurns, type BridgeDriver } from '../../../src/outside.ts';

async function listen(connected: () => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    connected();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as { port: number }).port;
}

const kinds: readonly [BridgeDriver, (ports: readonly number[]) => object][] = [
  [
    createAmqp091BridgeDriver(),
    ([port, ...others]) => ({
      host: '127.0.0.1',
      port,
      addresses: others.map((each) => `127.0.0.1:${each}`),
    }),
  ],
  [createKafkaBridgeDriver(), (ports) => ({ brokers: ports.map((each) => `127.0.0.1:${each}`) })],
  [createMqttBridgeDriver(), (ports) => ({ urls: ports.map((each) => `mqtt://127.0.0.1:${each}`) })],
];

it.each(kinds)(
  'a try of $type begins behind the address that took all the time of the one before',
  async (driver, toPorts) => {
    const heard: number[] = [];
    const ports = [await listen(() => heard.push(0)), await listen(() => heard.push(1))];
    const connection = Value.Default(driver.connectionSchema, toPorts(ports));
    for (let tries = 1; tries <= 3; tries++) {
      const abort = new AbortController();
      const opening = driver.open({
        name: 'b',
        connection,
        options: Value.Default(driver.optionsSchema.out, {}),
        direction: 'out',
        delivery: 'at-least-once',
        gatewayId: '0'.repeat(32),
        inFlightMax: 1,
        clock: new SystemClock((error) => {
          throw error;
        }),
        logger: { debug() {}, info() {}, warn() {}, error() {} },
        signal: abort.signal,
        lost: () => {},
      });
      opening.catch(() => {});
      await expect.poll(() => heard.length, { timeout: 5_000 }).toBe(tries);
      abort.abort();
      await expect(opening).rejects.toThrow();
    }
    expect(heard).toEqual([0, 1, 0]);
  },
);

it('turns are of one bridge and direction', () => {
  const turns = new AddressTurns();
  const bridge = { name: 'b', direction: 'out' };
  turns.failed(bridge);
  turns.failed(bridge);
  expect(turns.inTurn(bridge, [1, 2, 3])).toEqual([3, 1, 2]);
  expect(turns.inTurn({ name: 'b', direction: 'in' }, [1, 2, 3])).toEqual([1, 2, 3]);
  expect(turns.inTurn(bridge, [1, 2])).toEqual([1, 2]);
});
