/** Tokens, certificates and an outside service let real clients in, in every protocol, and end what has expired. */

import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect as connectAmqp } from 'amqplib';
import { SignJWT } from 'jose';
import { Kafka, logLevel } from 'kafkajs';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterEach, describe, expect, it } from 'vitest';
import { createAuthority, writeFolder } from '../../support/certificates.ts';
import { type GatewayOptions, startTestGateway, type TestGateway } from '../../support/gateway.ts';

const SECRET = 'the secret that issuer and gateway share, 32 bytes and more';
const NOT_AUTHORIZED = 0x87;
const WRONG_CREDENTIALS = 0x86;
const UNAVAILABLE = 0x88;

let gateway: TestGateway;
const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each();
});

async function start(settings: NonNullable<GatewayOptions['settings']>): Promise<void> {
  gateway = await startTestGateway({ settings });
  cleanUp.push(() => gateway.stop());
}

async function openMqtt(options: IClientOptions): Promise<MqttClient> {
  const client = await connectAsync(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, {
    protocolVersion: 5,
    reconnectPeriod: 0,
    ...options,
  });
  client.on('error', () => {});
  cleanUp.push(() => client.endAsync(true));
  return client;
}

async function userOf(clientId: string): Promise<string | undefined> {
  const answer = await fetch(`${gateway.url}/v1/clients`);
  const { items } = (await answer.json()) as { items: { clientId: string; user: string }[] };
  return items.find((each) => each.clientId === clientId)?.user;
}

async function listenersInUse(): Promise<string[]> {
  const answer = await fetch(`${gateway.url}/v1/clients`);
  const { items } = (await answer.json()) as { items: { listener: string }[] };
  return items.map(({ listener }) => listener);
}

/** The reason code of the server's DISCONNECT. */
const toldOf = (client: MqttClient): Promise<number | undefined> =>
  new Promise((resolve) => {
    client.once('disconnect', ({ reasonCode }) => resolve(reasonCode));
  });

describe('a token', () => {
  const tokenFor = (user: string, lifeSeconds = 600): Promise<string> =>
    new SignJWT({ sub: user, groups: ['staff'] })
      .setProtectedHeader({ alg: 'HS256' })
      .setExpirationTime(Math.floor(Date.now() / 1_000) + lifeSeconds)
      .sign(Buffer.from(SECRET));
  const settings = { 'auth.jwt.enabled': true, 'auth.jwt.secrets': [SECRET], 'auth.jwt.clockToleranceMs': 0 };

  it('stands in place of the password in every protocol', async () => {
    await start(settings);
    const token = await tokenFor('ann');
    await openMqtt({ username: 'ann', password: token });
    await openMqtt({ username: '', password: token });
    await expect(openMqtt({ username: 'bob', password: token })).rejects.toMatchObject({
      code: WRONG_CREDENTIALS,
    });
    const changed = `${token.slice(0, -4)}AAAA`;
    await expect(openMqtt({ username: 'ann', password: changed })).rejects.toMatchObject({
      code: WRONG_CREDENTIALS,
    });
    await expect(openMqtt({})).rejects.toThrow();
    await (await connectAmqp(`amqp://ann:${token}@127.0.0.1:${gateway.ports.amqp}`)).close();
    await expect(connectAmqp(`amqp://bob:${token}@127.0.0.1:${gateway.ports.amqp}`)).rejects.toThrow(
      'ACCESS-REFUSED',
    );
    const kafka = (password: string): Kafka =>
      new Kafka({
        brokers: [`127.0.0.1:${gateway.ports.kafka}`],
        logLevel: logLevel.NOTHING,
        retry: { retries: 0 },
        sasl: { mechanism: 'plain', username: 'ann', password },
      });
    const admin = kafka(token).admin();
    await admin.connect();
    expect(await admin.listTopics()).toEqual([]);
    await admin.disconnect();
    await expect(kafka(changed).admin().connect()).rejects.toThrow();
  });

  it('that expires ends its connections, and no others', async () => {
    await start(settings);
    const short = await openMqtt({ username: 'ann', password: await tokenFor('ann', 2) });
    const long = await openMqtt({ username: 'ann', password: await tokenFor('ann') });
    const amqp = await connectAmqp(`amqp://ann:${await tokenFor('ann', 2)}@127.0.0.1:${gateway.ports.amqp}`);
    const amqpEnded = once(amqp, 'close');
    const kafka = new Kafka({
      brokers: [`127.0.0.1:${gateway.ports.kafka}`],
      logLevel: logLevel.NOTHING,
      retry: { retries: 0 },
      sasl: { mechanism: 'plain', username: 'ann', password: await tokenFor('ann', 2) },
    }).admin();
    await kafka.connect();
    cleanUp.push(() => kafka.disconnect());
    expect(await kafka.listTopics()).toEqual([]);
    expect(await listenersInUse()).toContain('kafka');
    expect(await toldOf(short)).toBe(NOT_AUTHORIZED);
    await amqpEnded;
    await expect.poll(listenersInUse, { timeout: 5_000 }).toEqual(['mqtt']);
    await long.publishAsync('still/here', 'x', { qos: 1 });
  }, 15_000);

  it('carries the groups that rules speak of', async () => {
    const rules = [{ effect: 'allow', group: 'staff', actions: ['write'], pattern: 'office/%u' }];
    await start({ ...settings, 'auth.acl.rules': JSON.stringify(rules) });
    const client = await openMqtt({ username: '', password: await tokenFor('ann') });
    await client.publishAsync('office/ann', 'x', { qos: 1 });
    await expect(client.publishAsync('office/bob', 'x', { qos: 1 })).rejects.toMatchObject({
      code: NOT_AUTHORIZED,
    });
  });
});

describe('a certificate', () => {
  it('names the user of its connection', async () => {
    const authority = createAuthority('Devices');
    const server = authority.issue({ commonName: 'localhost', names: ['dns:localhost', 'ip:127.0.0.1'] });
    const device = authority.issue({ commonName: 'device-7', names: ['dns:device-7.example.com'] });
    const folder = writeFolder({
      'authority.pem': authority.certificate,
      'server.pem': server.certificate,
      'server.key': server.key,
    });
    cleanUp.push(() => rmSync(folder, { recursive: true }));
    const rules = [{ effect: 'allow', group: 'devices', actions: ['write'], pattern: 'devices/%u/#' }];
    await start({
      'tls.certificates': JSON.stringify([
        { certificateFile: join(folder, 'server.pem'), keyFile: join(folder, 'server.key') },
      ]),
      'tls.clientAuthoritiesFile': join(folder, 'authority.pem'),
      'mqtt.tls.port': 0,
      'mqtt.websocket.tls.port': 0,
      'amqp091.tls.port': 0,
      'kafka.tls.port': 0,
      'mqtt.tls.clientCertificate': 'request',
      'auth.certificate.enabled': true,
      'auth.certificate.groups': ['devices=device-*'],
      'auth.acl.rules': JSON.stringify(rules),
    });
    const port = gateway.gateway.listeners.get('mqtt-tls')?.port;
    const openTls = async (options: IClientOptions): Promise<MqttClient> => {
      const client = await connectAsync(`mqtts://localhost:${port}`, {
        protocolVersion: 5,
        reconnectPeriod: 0,
        ca: readFileSync(join(folder, 'authority.pem')),
        ...options,
      });
      cleanUp.push(() => client.endAsync(true));
      return client;
    };
    const proof = { cert: device.certificate, key: device.key };
    const client = await openTls(proof);
    await client.publishAsync('devices/device-7/state', 'x', { qos: 1 });
    await expect(client.publishAsync('devices/device-8/state', 'x', { qos: 1 })).rejects.toMatchObject({
      code: NOT_AUTHORIZED,
    });
    await openTls({ ...proof, username: 'device-7' });
    await expect(openTls({ ...proof, username: 'root' })).rejects.toThrow();
    await expect(openTls({})).rejects.toThrow();
    await expect(openMqtt({ username: 'device-7', password: 'x' })).rejects.toThrow();
  });
});

describe('an outside service', () => {
  async function startService(
    answer: (question: { user: string; password: string }) => object | null,
  ): Promise<Server> {
    const server = createServer(async (request, response) => {
      let text = '';
      for await (const chunk of request) text += String(chunk);
      const found = answer(JSON.parse(text));
      response.writeHead(found === null ? 500 : 200).end(JSON.stringify(found));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanUp.push(() => {
      server.closeAllConnections();
      server.close();
    });
    return server;
  }

  it('lets in whom it allows, as whom it says, and nobody while it fails', async () => {
    let isBroken = false;
    const service = await startService(({ user, password }) => {
      if (isBroken) return null;
      return password === 'secret' ? { result: 'allow', user: user.toUpperCase() } : { result: 'deny' };
    });
    const url = `http://127.0.0.1:${(service.address() as AddressInfo).port}/`;
    await start({ 'auth.http.enabled': true, 'auth.http.url': url });
    await openMqtt({ clientId: 'one', username: 'ann', password: 'secret' });
    expect(await userOf('one')).toBe('ANN');
    await expect(openMqtt({ username: 'ann', password: 'wrong' })).rejects.toMatchObject({
      code: WRONG_CREDENTIALS,
    });
    isBroken = true;
    // Remembered.
    await openMqtt({ clientId: 'one', username: 'ann', password: 'secret' });
    await expect(openMqtt({ username: 'bob', password: 'secret' })).rejects.toMatchObject({
      code: UNAVAILABLE,
    });
    await expect(connectAmqp(`amqp://bob:secret@127.0.0.1:${gateway.ports.amqp}`)).rejects.toThrow(
      'credentials cannot be checked now',
    );
    isBroken = false;
    await openMqtt({ username: 'bob', password: 'secret' });
  });

  it('sets the end of what it allows', async () => {
    const service = await startService(() => ({
      result: 'allow',
      expiresAt: new Date(Date.now() + 1_000).toISOString(),
    }));
    const url = `http://127.0.0.1:${(service.address() as AddressInfo).port}/`;
    await start({ 'auth.http.enabled': true, 'auth.http.url': url });
    const client = await openMqtt({ username: 'ann', password: 'secret' });
    expect(await toldOf(client)).toBe(NOT_AUTHORIZED);
  });
});
