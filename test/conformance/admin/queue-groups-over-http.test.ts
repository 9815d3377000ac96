/** Consumer groups of a queue over the HTTP API and on the command line, with a real worker in one of them. */

import mqtt from 'mqtt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CommandLine } from './command-line.ts';
import { GatewayInProcess } from './gateway-in-process.ts';

let gateway: GatewayInProcess;
beforeAll(async () => {
  gateway = await GatewayInProcess.start();
});
afterAll(() => gateway.remove());

test('are listed with what waits in them, shown, and deleted with their members told', async () => {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port('mqtt')}`, {
    clientId: 'worker',
    protocolVersion: 5,
    reconnectPeriod: 0,
  });
  const joining = (group: string) => ({
    qos: 1 as const,
    properties: { userProperties: { 'consumer-group': group } },
  });
  await client.subscribeAsync('$queue/orders/#', joining('workers'));
  await client.subscribeAsync('$queue/orders/eu/#', joining('workers'));
  await client.publishAsync('$queue/orders/us', 'x', { qos: 1 });
  const all = { id: 'workers', name: 'workers', readyCount: 0, unsettledCount: 1, consumerCount: 1 };
  const eu = { id: 'workers@eu/#', name: 'workers', readyCount: 0, unsettledCount: 0, consumerCount: 1 };
  const path = '/v1/queues/orders/groups';
  expect(await gateway.get(path)).toMatchObject({ status: 200, body: { items: [all, eu], next: null } });
  expect(await gateway.get(`${path}/workers%40eu%2F%23`)).toMatchObject({ status: 200, body: eu });
  expect(await gateway.get(`${path}/others`)).toMatchObject({ status: 404 });
  expect(await gateway.get('/v1/queues/none/groups')).toMatchObject({ status: 404 });

  const cli = new CommandLine(gateway.url);
  const shown = await cli.run('queues', 'groups', 'orders');
  expect(shown.out).toMatch(/^workers@eu\/# +0 +0 +1$/m);
  const told = new Promise((resolve) => client.once('disconnect', resolve));
  expect(await cli.run('queues', 'delete-group', 'orders', 'workers@eu/#')).toMatchObject({ code: 0 });
  expect(await told).toMatchObject({ reasonCode: 0x98 });
  expect(await gateway.get(path)).toMatchObject({ body: { items: [{ id: 'workers', readyCount: 1 }] } });
  expect((await cli.run('queues', 'list')).out).toMatch(/^orders /m);
});
