/** Definitions that RabbitMQ exported, taken over by the command and used by AMQP clients. */

import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import amqp from 'amqplib';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { CommandLine } from './command-line.ts';
import { GatewayInProcess } from './gateway-in-process.ts';

let gateway: GatewayInProcess;
beforeAll(async () => {
  gateway = await GatewayInProcess.start();
});
afterAll(() => gateway.remove());

/** As RabbitMQ does it: salt, and the digest of salt and password. */
function hashOf(password: string, algorithm: 'sha256' | 'sha512'): string {
  const salt = Buffer.from([0x90, 0x8d, 0xc6, 0x0a]);
  const digest = createHash(algorithm).update(salt).update(password).digest();
  return Buffer.concat([salt, digest]).toString('base64');
}

const DEFINITIONS = {
  rabbit_version: '3.12.1',
  users: [
    {
      name: 'ann',
      // The example of RabbitMQ's own documentation, for the password test12.
      password_hash: 'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR',
      hashing_algorithm: 'rabbit_password_hashing_sha256',
      tags: ['administrator'],
      limits: {},
    },
    {
      name: 'bob',
      password_hash: hashOf('long', 'sha512'),
      hashing_algorithm: 'rabbit_password_hashing_sha512',
      tags: '',
    },
    { name: 'old', password_hash: 'x', hashing_algorithm: 'rabbit_password_hashing_md5', tags: '' },
  ],
  vhosts: [{ name: '/' }],
  permissions: [{ user: 'ann', vhost: '/', configure: '.*', write: '.*', read: '.*' }],
  policies: [],
  exchanges: [
    {
      name: 'shop',
      vhost: '/',
      type: 'topic',
      durable: true,
      auto_delete: false,
      internal: false,
      arguments: {},
    },
  ],
  queues: [
    { name: 'orders', vhost: '/', durable: true, auto_delete: false, arguments: { 'x-max-length': 2 } },
    { name: 'elsewhere', vhost: 'test', durable: true, auto_delete: false, arguments: {} },
  ],
  bindings: [
    {
      source: 'shop',
      vhost: '/',
      destination: 'orders',
      destination_type: 'queue',
      routing_key: 'eu.#',
      arguments: {},
    },
  ],
};

test('exchanges, queues, bindings and users are taken over once, and the rest is told', async () => {
  const file = join(gateway.folder, 'definitions.json');
  writeFileSync(file, JSON.stringify(DEFINITIONS));
  const cli = new CommandLine(gateway.url);
  const tried = await cli.run('import', 'rabbitmq', file, '--dry-run');
  expect(tried).toMatchObject({ code: 0 });
  expect(tried.out).toContain('would create 1 exchanges, 1 queues, 1 bindings, 2 users\n');
  expect(await gateway.get('/v1/queues/orders')).toMatchObject({ status: 404 });

  const done = await cli.run('import', 'rabbitmq', file);
  expect(done.out).toBe(
    [
      'created 1 exchanges, 1 queues, 1 bindings, 2 users',
      'there already: nothing',
      'skipped queues elsewhere: belongs to virtual host test',
      'skipped users old: its password is hashed with rabbit_password_hashing_md5: give it a new one',
      'skipped permissions ann: rights are patterns of addresses here, not regular expressions: make access rules',
      '',
    ].join('\n'),
  );
  const again = await cli.run('import', 'rabbitmq', file);
  expect(again.out).toContain('created nothing\n');
  expect(again.out).toContain('there already: 1 exchanges, 1 queues, 1 bindings\n');

  const url = (user: string, password: string) =>
    `amqp://${user}:${password}@127.0.0.1:${gateway.port('amqp091')}`;
  await expect(amqp.connect(url('ann', 'wrong'))).rejects.toThrow();
  for (const [user, password] of [
    ['ann', 'test12'],
    ['bob', 'long'],
  ] as const) {
    const connection = await amqp.connect(url(user, password));
    onTestFinished(() => connection.close());
    const channel = await connection.createConfirmChannel();
    await channel.assertExchange('shop', 'topic', { durable: true });
    await channel.assertQueue('orders', { durable: true, maxLength: 2 });
    channel.publish('shop', 'eu.new', Buffer.from(user));
    await channel.waitForConfirms();
  }
  expect(await gateway.get('/v1/queues/orders')).toMatchObject({ body: { readyCount: 2 } });
  expect(await gateway.get('/v1/users/ann')).toMatchObject({ body: { groups: ['administrator'] } });
});

test('rules of the Strimzi MQTT bridge become mappings', async () => {
  const file = join(gateway.folder, 'rules.json');
  const rules = [
    { mqttTopic: 'building/{building}/room/{room}/#', kafkaTopic: 'rooms', kafkaKey: '{building}-{room}' },
    { mqttTopic: 'building/#', kafkaTopic: 'others' },
    { mqttTopic: 'sensors/(.*)', kafkaTopic: 'sensors' },
  ];
  writeFileSync(file, JSON.stringify(rules));
  const cli = new CommandLine(gateway.url);
  expect((await cli.run('import', 'strimzi', file, '--dry-run')).out).toMatch(/^would create 2 mappings\n/);
  expect((await cli.run('import', 'strimzi', file)).out.split('\n')).toEqual([
    'created 2 mappings',
    'there already: nothing',
    'skipped mappings rule 2 (sensors/(.*)): regular expressions are not translated',
    expect.stringMatching(/^warning: mappings rule 1 \(building\/#\): topics that rule 0 matches too/),
    '',
  ]);
  expect((await cli.run('import', 'strimzi', file)).out).toContain('there already: 2 mappings\n');
  await gateway.call('POST', '/v1/messages/building/a/room/7/x', { body: '21' });
  expect(await gateway.get('/v1/streams/rooms/records')).toMatchObject({
    body: { items: [{ message: { body: '21', key: 'a-7' } }] },
  });
});

test('what is no such file is refused, and so is an unknown format', async () => {
  expect(await gateway.call('POST', '/v1/import/rabbitmq', { queues: 1 })).toMatchObject({
    status: 400,
    body: { pointer: '/queues' },
  });
  expect(await gateway.call('POST', '/v1/import/others', {})).toMatchObject({ status: 404 });
  const cli = new CommandLine(gateway.url);
  expect(await cli.run('import', 'rabbitmq', join(gateway.folder, 'none.json'))).toMatchObject({ code: 2 });
});
