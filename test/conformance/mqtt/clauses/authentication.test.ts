/** Sections 3.15 and 4.12: AUTH. The mechanism is one of these tests: it asks one question and takes one answer. */

import { expect } from 'vitest';
import type { Authenticator, SaslStep } from '../../../../src/host.ts';
import { clause, unique, useGatewayByHand } from '../clause.ts';
import { expectClosed, expectRefused } from '../expectations.ts';
import {
  auth,
  type ConnectOptions,
  connect,
  disconnect,
  type Properties,
  Property,
  packet,
  pingreq,
  propertiesOf,
  propertyOf,
  publish,
  type Received,
  subscribe,
  Type,
  u8,
  type Version,
} from '../packets.ts';
import type { RawClient } from '../raw-client.ts';

const METHOD = 'QUESTION';
const CONTINUE = 0x18;
const ANEW = 0x19;

const authenticator: Authenticator = {
  authenticate: (_, { clientId }) => ({ user: '', groups: [], clientId }),
  mechanisms: [METHOD],
  begin(mechanism, { clientId }) {
    if (mechanism !== METHOD) return null;
    let asked = false;
    return {
      step(message): SaslStep {
        const text = Buffer.from(message).toString();
        if (text === 'wrong') return { outcome: 'refused' };
        if (asked) {
          const principal = { user: 'somebody', groups: [], clientId };
          return { outcome: 'accepted', message: Buffer.from('welcome'), principal };
        }
        asked = true;
        return { outcome: 'continue', message: Buffer.from('who?') };
      },
    };
  },
  isCurrent: () => true,
  onChange: () => {},
};

const server = useGatewayByHand({ authenticator });

function withMethod(method: string, data = 'hello'): ConnectOptions {
  return {
    clientId: unique('c'),
    properties: [
      [Property.authenticationMethod, method],
      [Property.authenticationData, Buffer.from(data)],
    ],
  };
}

function message(data: string, method = METHOD): Properties {
  return [
    [Property.authenticationMethod, method],
    [Property.authenticationData, Buffer.from(data)],
  ];
}

/** After CONNECT: the server has asked its question. */
async function asked(version: Version, more: ConnectOptions = {}): Promise<RawClient> {
  const client = await server.open(version);
  const options = withMethod(METHOD);
  client.send(
    connect(version, {
      ...options,
      ...more,
      properties: [...(options.properties ?? []), ...(more.properties ?? [])],
    }),
  );
  await client.expect(Type.AUTH);
  return client;
}

async function proved(version: Version, more: ConnectOptions = {}): Promise<RawClient> {
  const client = await asked(version, more);
  client.send(auth(CONTINUE, message('me')));
  expect((await client.expect(Type.CONNACK)).reason).toBe(0);
  return client;
}

const methodOf = (found: Received): unknown => propertyOf(found, Property.authenticationMethod);

clause('5.0 [MQTT-4.12.0-1]', 'a method that is not supported is refused', async (version) => {
  for (const method of ['SOMETHING-ELSE', '', METHOD.toLowerCase()]) {
    const client = await server.open(version);
    client.send(connect(version, withMethod(method)));
    await expectRefused(client, 0x8c, 0x87);
  }
});

clause(
  '5.0 [MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5] [MQTT-3.15.2-1]',
  'the exchange goes on with 0x18 and ends in CONNACK, and all of them name the method',
  async (version) => {
    const client = await server.open(version);
    client.send(connect(version, withMethod(METHOD)));
    const question = await client.expect(Type.AUTH);
    expect([question.reason, methodOf(question)]).toEqual([CONTINUE, METHOD]);
    expect(propertyOf(question, Property.authenticationData)).toEqual(Buffer.from('who?'));
    client.send(auth(CONTINUE, message('me')));
    const connack = await client.expect(Type.CONNACK);
    expect([connack.reason, methodOf(connack)]).toEqual([0, METHOD]);
    expect(propertyOf(connack, Property.authenticationData)).toEqual(Buffer.from('welcome'));
    expect(await client.fence()).toEqual([]);
  },
);

clause(
  '5.0 [MQTT-4.12.0-3] [MQTT-4.12.0-5]',
  'an AUTH that does not continue, or names another method, is refused',
  async (version) => {
    for (const bytes of [
      auth(0x00, message('me')),
      auth(ANEW, message('me')),
      auth(CONTINUE, message('me', 'OTHER')),
      auth(CONTINUE),
    ]) {
      const client = await asked(version);
      client.send(bytes, pingreq());
      await expectRefused(client, 0x80, 0x81, 0x82, 0x87, 0x8c);
    }
  },
);

clause('5.0 [MQTT-4.12.0-4]', 'who is refused gets CONNACK and the close', async (version) => {
  const atOnce = await server.open(version);
  atOnce.send(connect(version, withMethod(METHOD, 'wrong')));
  await expectRefused(atOnce, 0x87, 0x86, 0x8c);
  const later = await asked(version);
  later.send(auth(CONTINUE, message('wrong')));
  await expectRefused(later, 0x87, 0x86, 0x8c);
});

clause(
  '5.0 [MQTT-3.1.4-6] [MQTT-3.1.2-30]',
  'nothing but AUTH is processed before CONNACK',
  async (version) => {
    for (const bytes of [publish(version, unique(), 'x'), subscribe(version, 1, [['a', 0]]), pingreq()]) {
      const client = await asked(version);
      client.send(bytes);
      await expectRefused(client, 0x82, 0x81);
    }
    const leaving = await asked(version);
    leaving.send(disconnect());
    expect((await leaving.closed()).filter(({ reason }) => reason === 0)).toEqual([]);
  },
);

clause(
  '5.0 [MQTT-4.12.0-6] [MQTT-4.12.0-7]',
  'without a method there is none in CONNACK, no AUTH comes and none may be sent',
  async (version) => {
    const client = await server.open(version);
    const connack = await client.connect({ clientId: unique('c'), user: 'somebody', password: 'x' });
    expect(methodOf(connack)).toBeUndefined();
    expect(propertyOf(connack, Property.authenticationData)).toBeUndefined();
    expect(await client.fence()).toEqual([]);
    client.send(auth(ANEW, message('hello')));
    await expectClosed(client, 0x82);
  },
);

clause(
  '5.0 [MQTT-4.12.1-1] [MQTT-4.12.0-5]',
  'a client proves itself anew with 0x19 and the same method while all else goes on',
  async (version) => {
    const client = await proved(version);
    const topic = unique();
    await client.subscribe([[topic, 0]]);
    client.send(auth(ANEW, message('hello')));
    const question = await client.expect(Type.AUTH);
    expect([question.reason, methodOf(question)]).toEqual([CONTINUE, METHOD]);
    client.send(publish(version, topic, 'meanwhile'));
    expect((await client.expect(Type.PUBLISH)).payload).toBe('meanwhile');
    client.send(auth(CONTINUE, message('me')));
    const done = await client.expect(Type.AUTH);
    expect([done.reason, methodOf(done)]).toEqual([0x00, METHOD]);
    expect(await client.fence()).toEqual([]);
    client.send(auth(ANEW, message('hello', 'OTHER')));
    await expectClosed(client, 0x82, 0x8c);
  },
);

clause('5.0 [MQTT-4.12.1-2]', 'where that fails the connection is closed', async (version) => {
  for (const last of ['at once', 'later']) {
    const client = await proved(version);
    client.send(auth(ANEW, message(last === 'later' ? 'hello' : 'wrong')));
    if (last === 'later') {
      await client.expect(Type.AUTH);
      client.send(auth(CONTINUE, message('wrong')));
    }
    await expectClosed(client, 0x87, 0x8c);
  }
});

clause('5.0 [MQTT-3.15.1-1]', 'AUTH with other flags closes the connection', async (version) => {
  for (const flags of [1, 2, 4, 8]) {
    const client = await proved(version);
    const bytes = auth(ANEW, message('hello'));
    bytes[0] = 0xf0 | flags;
    client.send(bytes);
    await expectClosed(client, 0x81);
  }
});

clause('5.0 [MQTT-3.15.2-1]', 'AUTH with another reason code closes the connection', async (version) => {
  for (const bytes of [
    auth(0x17, message('hello')),
    auth(0x80, message('hello')),
    auth(0x00, message('hello')),
    packet(0xf0, u8(0x01)),
  ]) {
    const client = await proved(version);
    client.send(bytes);
    await expectClosed(client, 0x81, 0x82);
  }
  for (const reason of [0x00, 0x17]) {
    const begun = await proved(version);
    begun.send(auth(ANEW, message('hello')));
    await begun.expect(Type.AUTH);
    begun.send(auth(reason, message('me')));
    await expectClosed(begun, 0x81, 0x82);
  }
});

clause(
  '5.0 [MQTT-3.15.2-2] [MQTT-3.15.2-3]',
  'AUTH leaves out what would make it too large',
  async (version) => {
    // AUTH with method and question takes 24 bytes; CONNACK with all that it has to say some more.
    const size = 60;
    const client = await server.open(version);
    const options = withMethod(METHOD);
    client.send(
      connect(version, {
        ...options,
        properties: [...(options.properties ?? []), [Property.maximumPacketSize, size]],
      }),
    );
    const question = await client.expect(Type.AUTH);
    expect(question.bytes.length).toBeLessThanOrEqual(size);
    expect([
      propertyOf(question, Property.reasonString),
      ...propertiesOf(question, Property.userProperty),
    ]).toEqual([undefined]);
    client.send(auth(CONTINUE, message('me')));
    for (const { bytes } of [await client.next()]) expect(bytes.length).toBeLessThanOrEqual(size);
    // Where not even the bare packet has room none is sent.
    const tiny = await server.open(version);
    tiny.send(
      connect(version, {
        ...options,
        properties: [...(options.properties ?? []), [Property.maximumPacketSize, 10]],
      }),
    );
    for (const { bytes, type } of await tiny.closed()) {
      expect(type).toBe(Type.CONNACK);
      expect(bytes.length).toBeLessThanOrEqual(10);
    }
  },
);
