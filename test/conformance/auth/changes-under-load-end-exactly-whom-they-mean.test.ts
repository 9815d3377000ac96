/**
 * Users, rules, authorities and certificates change at once while messages flow over MQTT, AMQP and Kafka, in the clear and
 * over mutual TLS. Counted at the gateway, by connection: who went is exactly who may not be there any more, and who stayed
 * missed nothing.
 */
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { type ChannelModel, connect as connectAmqp, credentials } from 'amqplib';
import { Kafka, logLevel, type Producer } from 'kafkajs';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createAuthority, writeFolder } from '../../support/certificates.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';

const PASSWORD = 'secret';
const NOT_AUTHORIZED = 0x87;
const USERS = Array.from({ length: 10 }, (_, i) => `user-${i}`);

const authority = createAuthority('Devices');
/** Vouches for some devices until it is taken out of the file. */
const leaving = createAuthority('Devices of a partner');
const names = ['dns:localhost', 'ip:127.0.0.1'];
const server = authority.issue({ commonName: 'old', names });
const nextServer = authority.issue({ commonName: 'new', names });
const DEVICES = Array.from({ length: 6 }, (_, i) => `device-${i}`);
const proofs = new Map(
  DEVICES.map((name, i) => [name, (i < 4 ? authority : leaving).issue({ commonName: name })] as const),
);
const proofOf = (name: string) => {
  const { certificate: cert, key } = proofs.get(name) ?? server;
  return { cert, key, ca: authority.certificate };
};

let gateway: TestGateway;
let folder: string;
const file = (name: string): string => join(folder, name);
const clients: { close(): unknown }[] = [];

beforeEach(async () => {
  folder = writeFolder({
    'server.pem': server.certificate,
    'server.key': server.key,
    'authorities.pem': authority.certificate + leaving.certificate,
    'revoked.pem': authority.revocationList([]) + leaving.revocationList([]),
    acl: 'pattern readwrite load/#\n',
  });
  gateway = await startTestGateway({
    settings: {
      'auth.passwords.scryptCostLog2': 10,
      'auth.acl.file': file('acl'),
      // To make topics.
      'auth.acl.rules': JSON.stringify([{ effect: 'allow', actions: ['configure'], pattern: 'load/#' }]),
      'auth.certificate.enabled': true,
      'tls.certificates': JSON.stringify([
        { certificateFile: file('server.pem'), keyFile: file('server.key') },
      ]),
      'tls.clientAuthoritiesFile': file('authorities.pem'),
      'tls.revocationListFile': file('revoked.pem'),
      // Only when it is told.
      'tls.reloadCheckMs': 60_000,
      ...Object.fromEntries(['mqtt', 'amqp091', 'kafka'].map((name) => [`${name}.tls.port`, 0])),
      ...Object.fromEntries(
        ['mqtt', 'amqp091', 'kafka'].map((name) => [`${name}.tls.clientCertificate`, 'require']),
      ),
      'mqtt.websocket.tls.port': 0,
    },
  });
  for (const name of USERS) await gateway.gateway.users.put(name, { password: PASSWORD });
});
afterEach(async () => {
  for (const { close } of clients.splice(0)) await Promise.resolve(close()).catch(() => {});
  await gateway.stop();
  rmSync(folder, { recursive: true });
});

const portOf = (listener: string): number => gateway.gateway.listeners.get(listener)?.port ?? 0;

/** Publishes numbers to itself until it is told to stop; `received` is what came back. */
interface Talker {
  readonly name: string;
  readonly received: number[];
  sent: number;
  stop(): Promise<void>;
}

function talk(
  name: string,
  send: (number: number) => Promise<unknown>,
  everyMs: number,
  received: number[] = [],
): Talker {
  let isStopped = false;
  const talker: Talker = {
    name,
    received,
    sent: 0,
    async stop() {
      isStopped = true;
      await going;
    },
  };
  const going = (async () => {
    while (!isStopped) {
      await send(talker.sent);
      talker.sent++;
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  })().catch(() => {});
  return talker;
}

async function openMqtt(name: string): Promise<Talker & { readonly client: MqttClient }> {
  const isDevice = name.startsWith('device');
  const client = await connectAsync(
    isDevice ? `mqtts://localhost:${portOf('mqtt-tls')}` : `mqtt://127.0.0.1:${gateway.ports.mqtt}`,
    {
      protocolVersion: 5,
      reconnectPeriod: 0,
      ...(isDevice ? proofOf(name) : { username: name, password: PASSWORD }),
    },
  );
  client.on('error', () => {});
  const topic = `load/${name}/${client.options.clientId}`;
  const received: number[] = [];
  client.on('message', (_topic, body) => received.push(Number(body)));
  await client.subscribeAsync(topic, { qos: 1 });
  const talker = talk(name, (number) => client.publishAsync(topic, String(number), { qos: 1 }), 5, received);
  clients.push({ close: () => client.endAsync(true) });
  return Object.assign(talker, { client });
}

async function openAmqp(name: string): Promise<Talker & { readonly connection: ChannelModel }> {
  const connection = await (name.startsWith('device')
    ? connectAmqp(
        { protocol: 'amqps', hostname: 'localhost', port: portOf('amqp091-tls') },
        { ...proofOf(name), credentials: credentials.external() },
      )
    : connectAmqp(`amqp://${name}:${PASSWORD}@127.0.0.1:${gateway.ports.amqp}`));
  connection.on('error', () => {});
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => {});
  const ended = once(connection, 'close');
  const send = (number: number) => {
    const confirmed = new Promise((resolve, reject) => {
      channel.publish('amq.topic', `load.${name}.amqp`, Buffer.from(String(number)), {}, (error) =>
        error === null || error === undefined ? resolve(null) : reject(error),
      );
    });
    return Promise.race([confirmed, ended.then(() => Promise.reject(new Error('closed')))]);
  };
  const talker = talk(name, send, 5);
  clients.push({ close: () => connection.close() });
  return Object.assign(talker, { connection });
}

async function openKafka(name: string): Promise<Talker & { readonly producer: Producer }> {
  const isDevice = name.startsWith('device');
  const { cert, key, ca } = proofOf(name);
  const kafka = new Kafka({
    brokers: [isDevice ? `localhost:${portOf('kafka-tls')}` : `127.0.0.1:${gateway.ports.kafka}`],
    logLevel: logLevel.NOTHING,
    retry: { retries: 3, initialRetryTime: 50 },
    ...(isDevice
      ? { ssl: { cert, key, ca } }
      : { sasl: { mechanism: 'scram-sha-256', username: name, password: PASSWORD } }),
  });
  const producer = kafka.producer();
  await producer.connect();
  const topic = `load.${name}.kafka`;
  const send = (number: number) => producer.send({ topic, messages: [{ value: String(number) }] });
  clients.push({ close: () => producer.disconnect() });
  return Object.assign(talk(name, send, 20), { producer });
}

/** Connections at the gateway: id and user. */
async function connections(): Promise<Map<number, string>> {
  const answer = await fetch(`${gateway.url}/v1/clients?limit=1000`);
  const { items } = (await answer.json()) as { items: { id: number; user: string }[] };
  return new Map(items.map(({ id, user }) => [id, user]));
}

async function stillThere(before: ReadonlyMap<number, string>): Promise<[number, string][]> {
  const now = await connections();
  return [...before].filter(([id]) => now.has(id));
}

async function shownCertificate(): Promise<unknown> {
  const socket = connectTls({ port: portOf('mqtt-tls'), host: 'localhost', ...proofOf('device-0') });
  await once(socket, 'secureConnect');
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return CN;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

it('of all connections exactly those go whose user, key or authority changed', async () => {
  const everybody = [...USERS, ...DEVICES];
  const mqtt = await Promise.all([...everybody, ...everybody].map(openMqtt));
  const amqp = await Promise.all(everybody.map(openAmqp));
  const kafka = await Promise.all(everybody.map(openKafka));
  await pause(300);
  const before = await connections();
  for (const name of everybody) {
    // Two by MQTT, one by AMQP, one or more by Kafka.
    expect([...before.values()].filter((user) => user === name).length, name).toBeGreaterThanOrEqual(4);
  }
  expect(await shownCertificate()).toBe('old');

  const { users, accessRules } = gateway.gateway;
  const revoked = proofs.get('device-1');
  writeFileSync(file('server.pem'), nextServer.certificate);
  writeFileSync(file('server.key'), nextServer.key);
  writeFileSync(file('authorities.pem'), authority.certificate);
  writeFileSync(file('revoked.pem'), authority.revocationList(revoked === undefined ? [] : [revoked]));
  writeFileSync(file('acl'), 'pattern readwrite load/#\npattern read other/#\n');
  await Promise.all([
    users.put('user-1', { password: 'other' }),
    users.put('user-2', { groups: ['staff'] }),
    users.remove('user-3'),
    users.put('user-4', { groups: [] }),
    users.put('newcomer', { password: PASSWORD }),
    accessRules.put('user-5', {
      effect: 'deny',
      user: 'user-5',
      actions: ['write'],
      pattern: 'load/user-5/#',
    }),
    gateway.gateway.reload(),
  ]);
  const gone = new Set(['user-1', 'user-2', 'user-3', 'device-1', 'device-4', 'device-5']);
  const left = [...before].filter(([, user]) => !gone.has(user));
  await expect.poll(async () => (await stillThere(before)).length, { timeout: 5_000 }).toBe(left.length);
  // Looked at again every second for a while: that must not take more of them.
  await pause(1_500);
  expect(await stillThere(before)).toEqual(left);
  expect(await shownCertificate()).toBe('new');

  // Who may not publish any more stays, and is told so.
  const muted = mqtt.filter(({ name }) => name === 'user-5');
  await Promise.all(muted.map((talker) => talker.stop()));
  for (const { client, name } of muted) {
    await expect(client.publishAsync(`load/${name}/x`, 'x', { qos: 1 })).rejects.toMatchObject({
      code: NOT_AUTHORIZED,
    });
  }
  for (const talker of [...mqtt, ...amqp, ...kafka]) {
    if (gone.has(talker.name) || talker.name === 'user-5') continue;
    const { sent } = talker;
    await expect.poll(() => talker.sent, { message: talker.name }).toBeGreaterThan(sent + 3);
  }
  for (const talker of mqtt) {
    if (gone.has(talker.name) || talker.name === 'user-5') continue;
    await talker.stop();
    await expect.poll(() => talker.received.length).toBe(talker.sent);
    expect(talker.received).toEqual(Array.from({ length: talker.sent }, (_, i) => i));
  }
  await Promise.all([...amqp, ...kafka].map((talker) => talker.stop()));
}, 60_000);
