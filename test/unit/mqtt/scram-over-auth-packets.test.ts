import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import type { IAuthPacket, IConnackPacket, Packet } from 'mqtt-packet';
import { expect, it } from 'vitest';
import {
  SCRAM_MECHANISMS,
  ScramExchange,
  type ScramKeys,
  type ScramMechanism,
  scramKeysOf,
} from '../../../src/auth/scram.ts';
import type { Authenticator } from '../../../src/host.ts';
import { authenticatorOf } from '../../support/doors.ts';
import { type MqttWorld, openMqttWorld, type TestClient } from './mqtt-world.ts';

async function openWorld(mechanism: ScramMechanism): Promise<MqttWorld> {
  const keys = (await scramKeysOf(mechanism, 'secret')) as ScramKeys;
  const authenticator: Authenticator = {
    ...authenticatorOf(() => null),
    mechanisms: SCRAM_MECHANISMS,
    begin: (name, { clientId }) =>
      name === mechanism
        ? new ScramExchange(mechanism, {
            keysOf: () => keys,
            begin: () => ({ end: () => {} }),
            accept: (user) => (user === 'ada' ? { user, groups: [], clientId } : null),
            refuse: () => {},
          })
        : null,
  };
  return openMqttWorld({ authenticator });
}

/** The client's side of RFC 5802. */
class ScramClient {
  readonly first = 'n,,n=ada,r=nonce';
  readonly #digest: string;
  readonly #password: string;
  serverSignature = '';

  constructor(mechanism: string, password: string) {
    this.#digest = mechanism === 'SCRAM-SHA-256' ? 'sha256' : 'sha512';
    this.#password = password;
  }

  final(challenge: string): string {
    const [nonce, salt, iterations] = challenge.split(',').map((part) => part.slice(2)) as [
      string,
      string,
      string,
    ];
    const digest = this.#digest;
    const bytes = digest === 'sha256' ? 32 : 64;
    const hmac = (key: Buffer, text: string): Buffer => createHmac(digest, key).update(text).digest();
    const salted = pbkdf2Sync(this.#password, Buffer.from(salt, 'base64'), Number(iterations), bytes, digest);
    const clientKey = hmac(salted, 'Client Key');
    const bare = `c=biws,r=${nonce}`;
    const all = `n=ada,r=nonce,${challenge},${bare}`;
    const signature = hmac(createHash(digest).update(clientKey).digest(), all);
    this.serverSignature = hmac(hmac(salted, 'Server Key'), all).toString('base64');
    const proof = Buffer.from(clientKey.map((byte, at) => byte ^ (signature[at] as number)));
    return `${bare},p=${proof.toString('base64')}`;
  }
}

async function login(
  world: MqttWorld,
  mechanism: string,
  password: string,
): Promise<readonly [TestClient, Packet[], ScramClient]> {
  const scram = new ScramClient(mechanism, password);
  const client = world.client();
  const challenge = (await client.connect({
    version: 5,
    properties: { authenticationMethod: mechanism, authenticationData: Buffer.from(scram.first) },
  })) as IAuthPacket;
  say(client, mechanism, 0x18, scram.final(String(challenge.properties?.authenticationData)));
  return [client, await settled(client), scram];
}

function say(client: TestClient, method: string, reasonCode: number, data: string): void {
  client.write({
    cmd: 'auth',
    reasonCode,
    properties: { authenticationMethod: method, authenticationData: Buffer.from(data) },
  } as Packet);
}

async function settled(client: TestClient): Promise<Packet[]> {
  for (let tries = 0; tries < 50; tries++) {
    const packets = await client.read();
    if (packets.length > 0) return packets;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return [];
}

for (const mechanism of SCRAM_MECHANISMS) {
  it(`lets a client in with ${mechanism}, proves the server to it, and takes its proof again`, async () => {
    const world = await openWorld(mechanism);
    const [client, packets, scram] = await login(world, mechanism, 'secret');
    const [connack] = packets as IConnackPacket[];
    expect(connack).toMatchObject({ cmd: 'connack', reasonCode: 0 });
    expect(String(connack?.properties?.authenticationData)).toBe(`v=${scram.serverSignature}`);
    expect(client.handler.identity?.user).toBe('ada');
    say(client, mechanism, 0x19, scram.first);
    const [again] = (await settled(client)) as IAuthPacket[];
    say(client, mechanism, 0x18, scram.final(String(again?.properties?.authenticationData)));
    const [done] = (await settled(client)) as IAuthPacket[];
    expect(done).toMatchObject({ cmd: 'auth', reasonCode: 0 });
    expect(String(done?.properties?.authenticationData)).toBe(`v=${scram.serverSignature}`);
  });
}

it('refuses a wrong password with 0x87', async () => {
  const world = await openWorld('SCRAM-SHA-256');
  const [client, packets] = await login(world, 'SCRAM-SHA-256', 'wrong');
  expect(packets).toMatchObject([{ cmd: 'connack', reasonCode: 0x87 }]);
  expect(client.ended?.reason).toBe('not-authorized');
});
