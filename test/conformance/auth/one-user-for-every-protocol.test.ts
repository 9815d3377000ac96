/** One user comes in by MQTT, AMQP and Kafka, and goes from all of them when it is changed; others stay. */
import { once } from 'node:events';
import { connect as connectAmqp } from 'amqplib';
import { Kafka, logLevel, type SASLOptions } from 'kafkajs';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';

let gateway: TestGateway;
beforeEach(async () => {
  gateway = await startTestGateway({
    settings: {
      'auth.passwords.scryptCostLog2': 10,
      'auth.attempts.perAddressMax': 1000,
      'auth.attempts.perUserMax': 1000,
    },
  });
});
afterEach(() => gateway.stop());

const openMqtt = (username: string, password: string): Promise<MqttClient> =>
  connectAsync(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, {
    protocolVersion: 5,
    username,
    password,
    reconnectPeriod: 0,
  });

const openAmqp = (user: string, password: string) =>
  connectAmqp(`amqp://${user}:${password}@127.0.0.1:${gateway.ports.amqp}`);

async function askKafka(sasl?: SASLOptions): Promise<string[]> {
  const kafka = new Kafka({
    brokers: [`127.0.0.1:${gateway.ports.kafka}`],
    logLevel: logLevel.NOTHING,
    retry: { retries: 0 },
    ...(sasl === undefined ? {} : { sasl }),
  });
  const admin = kafka.admin();
  await admin.connect();
  try {
    return await admin.listTopics();
  } finally {
    await admin.disconnect();
  }
}

it('is let in by each protocol with its password, and refused with another', async () => {
  await gateway.gateway.users.put('ann', { password: 'secret' });
  await (await openMqtt('ann', 'secret')).endAsync();
  await expect(openMqtt('ann', 'wrong')).rejects.toThrow();
  await expect(openMqtt('bob', 'secret')).rejects.toThrow();
  await (await openAmqp('ann', 'secret')).close();
  await expect(openAmqp('ann', 'wrong')).rejects.toThrow('ACCESS-REFUSED');
  await expect(openAmqp('guest', 'guest')).rejects.toThrow('ACCESS-REFUSED');
  for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512'] as const) {
    expect(await askKafka({ mechanism, username: 'ann', password: 'secret' })).toEqual([]);
    await expect(askKafka({ mechanism, username: 'ann', password: 'wrong' })).rejects.toThrow();
    await expect(askKafka({ mechanism, username: 'bob', password: 'secret' })).rejects.toThrow();
  }
  await expect(askKafka()).rejects.toThrow();
});

it.each([
  ['another user', 'bob\0ann\0secret', 'ACCESS-REFUSED'],
  ['a name that is no text', '\0an\xff\0secret', 'SYNTAX-ERROR'],
])('is refused by AMQP where it asks to be %s', async (_what, response, reply) => {
  await gateway.gateway.users.put('ann', { password: 'secret' });
  const credentials = { mechanism: 'PLAIN', response: () => Buffer.from(response, 'latin1') };
  await expect(connectAmqp(`amqp://127.0.0.1:${gateway.ports.amqp}`, { credentials })).rejects.toThrow(reply);
  const itself = { mechanism: 'PLAIN', response: () => Buffer.from('ann\0ann\0secret') };
  await (await connectAmqp(`amqp://127.0.0.1:${gateway.ports.amqp}`, { credentials: itself })).close();
});

it('that is changed loses its Kafka connection, and bob does not lose his', async () => {
  const { users } = gateway.gateway;
  for (const name of ['ann', 'bob']) await users.put(name, { password: 'secret' });
  const admins = ['ann', 'bob'].map((username) =>
    new Kafka({
      brokers: [`127.0.0.1:${gateway.ports.kafka}`],
      logLevel: logLevel.NOTHING,
      retry: { retries: 0 },
      sasl: { mechanism: 'plain', username, password: 'secret' },
    }).admin(),
  );
  for (const admin of admins) {
    await admin.connect();
    await admin.listTopics();
  }
  const usersThere = async (): Promise<string[]> => {
    const { items } = (await (await fetch(`${gateway.url}/v1/clients`)).json()) as {
      items: { user: string }[];
    };
    return [...new Set(items.map(({ user }) => user))].sort();
  };
  expect(await usersThere()).toEqual(['ann', 'bob']);
  await users.put('ann', { password: 'other' });
  await expect.poll(usersThere).toEqual(['bob']);
  await expect(admins[0]?.listTopics()).rejects.toThrow();
  expect(await admins[1]?.listTopics()).toEqual([]);
  for (const admin of admins) await admin.disconnect();
});

it('that is changed loses its AMQP connection, and is told why', async () => {
  const { users } = gateway.gateway;
  await users.put('ann', { password: 'secret' });
  const amqp = await openAmqp('ann', 'secret');
  const ended = once(amqp, 'close');
  await users.put('ann', { password: 'other' });
  expect(String((await ended)[0])).toContain('has been changed or removed');
});

it('of 200 connections exactly those whose user was changed or removed go, while messages flow', async () => {
  const { users } = gateway.gateway;
  const names = Array.from({ length: 20 }, (_, i) => `user-${i}`);
  for (const name of names) await users.put(name, { password: 'secret' });
  const clients = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const name = names[i % 20] as string;
      const client = await openMqtt(name, 'secret');
      let reason = 0;
      client.on('error', () => {});
      client.on('disconnect', (packet) => {
        reason = packet.reasonCode ?? 0;
      });
      return { name, client, reasonOf: () => reason };
    }),
  );
  const publishing = setInterval(() => {
    for (const { client } of clients) if (client.connected) client.publish('load', 'x', { qos: 1 });
  }, 20);
  const gone = new Set(['user-1', 'user-7', 'user-12']);
  await Promise.all([
    users.put('user-1', { password: 'other' }),
    users.put('user-7', { groups: ['staff'] }),
    users.remove('user-12'),
    users.put('user-3', { groups: [] }),
    users.put('newcomer', { password: 'secret' }),
  ]);
  await vi.waitFor(() => expect(clients.filter(({ client }) => client.connected)).toHaveLength(170), 5_000);
  // A second look must not take more of them.
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  for (const { name, client, reasonOf } of clients) {
    expect(client.connected, name).toBe(!gone.has(name));
    expect(reasonOf(), name).toBe(gone.has(name) ? 0x87 : 0);
  }
  clearInterval(publishing);
  await Promise.all(clients.map(({ client }) => client.endAsync(true)));
}, 30_000);
