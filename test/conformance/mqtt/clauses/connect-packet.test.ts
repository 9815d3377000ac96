/** Section 3.1: what CONNECT may look like, who it names, and what a refusal is. */

import { expect } from 'vitest';
import { authenticatorOf } from '../../../support/doors.ts';
import { openLink, outside, startScriptedBroker } from '../../../unit/bridge-mqtt/scripted-broker.ts';
import { clause, unique, useGateway, useGatewayByHand } from '../clause.ts';
import { expectClosed, expectRefused, publishedIn } from '../expectations.ts';
import {
  auth,
  type ConnectOptions,
  connect,
  packet,
  pingreq,
  properties,
  publish,
  subscribe,
  Type,
  text,
  u8,
  u16,
  type Version,
} from '../packets.ts';

const server = useGateway();
/** Lets in one user. */
const strict = useGatewayByHand({
  authenticator: authenticatorOf((credentials, { clientId }) =>
    credentials.kind === 'password' &&
    credentials.user === 'user' &&
    Buffer.from(credentials.password).toString() === 'password'
      ? { user: 'user', groups: [], clientId }
      : null,
  ),
});

async function refuse(
  version: Version,
  options: ConnectOptions | Buffer,
  ...reasons: number[]
): Promise<void> {
  const client = await server.open(version);
  client.send(Buffer.isBuffer(options) ? options : connect(version, { clientId: unique('c'), ...options }));
  await expectRefused(client, ...reasons);
}

/** CONNECT with these flags and whatever fields stand in its payload. */
function connectWith(version: Version, flags: number, ...fields: Buffer[]): Buffer {
  const list = properties(version === 5 ? [] : null);
  return packet(0x10, text('MQTT'), u8(version), u8(flags), u16(0), list, ...fields);
}

const WILL_PROPERTIES = (version: Version): Buffer => properties(version === 5 ? [] : null);

clause(
  '3.1.1 [MQTT-3.1.0-1] | 5.0 [MQTT-3.1.0-1]',
  'anything before CONNECT closes the connection',
  async (version) => {
    for (const bytes of [
      pingreq(),
      publish(version, unique(), 'x'),
      subscribe(version, 1, [['a', 0]]),
      auth(0x18),
      // The first byte is enough: what follows it is not waited for.
      Buffer.from([0x30]),
    ]) {
      const client = await server.open(version);
      client.send(bytes);
      expect((await client.closed()).filter(({ reason }) => reason === 0)).toEqual([]);
    }
  },
);

clause(
  '3.1.1 [MQTT-3.1.0-2] | 5.0 [MQTT-3.1.0-2]',
  'a second CONNECT closes the connection',
  async (version) => {
    const clientId = unique('c');
    const client = await server.connected(version, { clientId });
    client.send(connect(version, { clientId }));
    await expectClosed(client, 0x82);
  },
);

clause('3.1.1 [MQTT-3.1.2-1] | 5.0 [MQTT-3.1.2-1]', 'another protocol name is refused', async (version) => {
  for (const protocolName of ['mqtt', 'MQTTT', 'MQT', 'MQIsdp', '']) {
    const client = await server.open(version);
    client.send(connect(version, { clientId: unique('c'), protocolName }), pingreq());
    for (const { type, reason } of await client.closed()) {
      // Who says MQIsdp is told in the form of that protocol.
      expect(type).toBe(Type.CONNACK);
      expect([1, 0x84]).toContain(reason);
    }
  }
});

clause('3.1.1 [MQTT-3.1.2-2]', 'another protocol level is answered with return code 1', async (version) => {
  for (const level of [1, 2]) {
    const client = await server.open(version);
    client.send(connect(version, { clientId: unique(), level }), pingreq());
    expect((await client.closed()).map(({ type, reason }) => [type, reason])).toEqual([[Type.CONNACK, 1]]);
  }
});

clause('5.0 [MQTT-3.1.2-2]', 'another protocol version is answered with 0x84', async (version) => {
  for (const level of [6, 0x7f]) {
    const client = await server.open(version);
    client.send(connect(version, { clientId: unique(), level }), pingreq());
    expect((await client.closed()).map(({ type, reason }) => [type, reason])).toEqual([[Type.CONNACK, 0x84]]);
  }
});

clause(
  '3.1.1 [MQTT-3.1.2-3] | 5.0 [MQTT-3.1.2-3]',
  'the reserved connect flag is refused',
  async (version) => {
    await refuse(version, { flags: 0x03 }, 0x81, 0x82);
  },
);

clause(
  '3.1.1 [MQTT-3.1.2-9] | 5.0 [MQTT-3.1.2-9]',
  'with the will flag will topic and will message have to be there',
  async (version) => {
    const id = text(unique('c'));
    await refuse(version, connectWith(version, 0x06, id), 0x81, 0x82);
    await refuse(version, connectWith(version, 0x06, id, WILL_PROPERTIES(version)), 0x81, 0x82);
    await refuse(version, connectWith(version, 0x06, id, WILL_PROPERTIES(version), text('w')), 0x81, 0x82);
    const client = await server.open(version);
    client.send(connectWith(version, 0x06, id, WILL_PROPERTIES(version), text('w'), text('')));
    expect((await client.expect(Type.CONNACK)).reason).toBe(0);
  },
);

clause(
  '3.1.1 [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT-3.1.2-15] | 5.0 [MQTT-3.1.2-11] [MQTT-3.1.2-13]',
  'without the will flag its QoS and retain are 0 and its fields absent',
  async (version) => {
    for (const flags of [0x02 | 0x08, 0x02 | 0x10, 0x02 | 0x20]) await refuse(version, { flags }, 0x81, 0x82);
    const fields = [text(unique('c')), WILL_PROPERTIES(version), text('w'), text('gone')];
    await refuse(version, connectWith(version, 0x02, ...fields), 0x81, 0x82);
  },
);

clause(
  '3.1.1 [MQTT-3.1.2-14] | 5.0 [MQTT-3.1.2-12]',
  'a will QoS of 0, 1 or 2 is taken, 3 is refused',
  async (version) => {
    for (const qos of [0, 1, 2]) {
      const will = { topic: unique(), payload: 'gone', qos };
      const watcher = await server.connected(version);
      await watcher.subscribe([[will.topic, 2]]);
      const client = await server.connected(version, { will });
      await client.drop();
      expect((await watcher.expect(Type.PUBLISH)).qos).toBe(qos);
    }
    const client = await server.open(version);
    client.send(
      connect(version, {
        clientId: unique('c'),
        flags: 0x02 | 0x04 | 0x18,
        will: { topic: 'w', payload: '' },
      }),
    );
    await expectRefused(client, 0x81, 0x82, 0x9b);
  },
);

clause(
  '3.1.1 [MQTT-3.1.2-18] [MQTT-3.1.2-20] | 5.0 [MQTT-3.1.2-16] [MQTT-3.1.2-18]',
  'a user name or password without its flag is refused',
  async (version) => {
    const id = text(unique('c'));
    await refuse(version, connectWith(version, 0x02, id, text('user')), 0x81, 0x82);
    await refuse(version, connectWith(version, 0x82, id, text('user'), text('password')), 0x81, 0x82);
  },
);

clause(
  '3.1.1 [MQTT-3.1.2-19] [MQTT-3.1.2-21] | 5.0 [MQTT-3.1.2-17] [MQTT-3.1.2-19]',
  'with their flags user name and password have to be there',
  async (version) => {
    const id = text(unique('c'));
    await refuse(version, connectWith(version, 0x82, id), 0x81, 0x82);
    await refuse(version, connectWith(version, 0xc2, id, text('user')), 0x81, 0x82);
    const client = await server.connected(version, { user: 'user', password: 'password' });
    expect(await client.fence()).toEqual([]);
  },
);

clause('3.1.1 [MQTT-3.1.2-22]', 'a password without a user name is refused', async (version) => {
  await refuse(version, connectWith(version, 0x42, text(unique('c')), text('password')), 0x81, 0x82);
});

clause(
  '3.1.1 [MQTT-3.1.3-1] [MQTT-3.1.3-3] | 5.0 [MQTT-3.1.3-1] [MQTT-3.1.3-3]',
  'the fields of the payload are read in their order, the identifier first',
  async (version) => {
    const [id, topic] = [unique('c'), unique()];
    const watcher = await server.connected(version);
    await watcher.subscribe([[topic, 0]]);
    const fields = [
      text(id),
      WILL_PROPERTIES(version),
      text(topic),
      text('gone'),
      text('user'),
      text('password'),
    ];
    const client = await server.open(version);
    client.send(connectWith(version, 0xc6, ...fields));
    expect((await client.expect(Type.CONNACK)).reason).toBe(0);
    const known = await strict.open(version);
    known.send(connectWith(version, 0xc6, ...fields));
    expect((await known.expect(Type.CONNACK)).reason).toBe(0);
    // The identifier was the first field: who comes with it takes over, and the will is the second.
    const other = await server.connected(version, { clientId: id });
    await client.closed();
    expect(publishedIn([await watcher.next()])).toEqual([`${topic}=gone`]);
    expect(await other.fence()).toEqual([]);
    await refuse(version, connectWith(version, 0x02), 0x81, 0x82);
  },
);

clause('3.1.1 [MQTT-3.1.3-2] | 5.0 [MQTT-3.1.3-2]', 'the identifier names the session', async (version) => {
  const [id, topic] = [unique('c'), unique()];
  const keep: ConnectOptions = { clean: false, ...(version === 5 ? { properties: [[17, 600]] } : {}) };
  const first = await server.connected(version, { ...keep, clientId: id });
  await first.subscribe([[topic, 1]]);
  await first.drop();
  const publisher = await server.connected(version);
  await publisher.publish(topic, 'kept', { qos: 1 });
  const stranger = await server.connected(version, { ...keep, clientId: id.toUpperCase() });
  expect(await stranger.fence()).toEqual([]);
  const again = await server.connected(version, { ...keep, clientId: id });
  expect(publishedIn([await again.next()])).toEqual([`${topic}=kept`]);
});

clause(
  '3.1.1 [MQTT-3.1.3-4] | 5.0 [MQTT-3.1.3-4]',
  'an identifier that is not UTF-8 is refused',
  async (version) => {
    await refuse(version, { clientId: Buffer.from('ff', 'hex') }, 0x81, 0x85);
    expect(await (await server.connected(version, { clientId: `${unique()}-ä-水` })).fence()).toEqual([]);
  },
);

clause(
  '3.1.1 [MQTT-3.1.3-10] | 5.0 [MQTT-3.1.3-11]',
  'a will topic that is not UTF-8 is refused',
  async (version) => {
    await refuse(version, { will: { topic: Buffer.from('61ff', 'hex'), payload: '' } }, 0x81, 0x90);
  },
);

clause(
  '3.1.1 [MQTT-3.1.3-11] | 5.0 [MQTT-3.1.3-12]',
  'a user name that is not UTF-8 is refused',
  async (version) => {
    await refuse(version, { user: Buffer.from('61ff', 'hex') }, 0x81, 0x86);
  },
);

clause(
  '3.1.1 [MQTT-3.1.3-5] | 5.0 [MQTT-3.1.3-5]',
  '1 to 23 letters and digits name a client',
  async (version) => {
    for (const clientId of [
      'a',
      'Z',
      '0',
      'abcdefghijklmnopqrstuvw',
      'ABCDEFGHIJKLMNOPQRSTUVW',
      '01234567890xyzXYZ',
    ]) {
      const client = await server.open(version);
      expect((await client.connect({ clientId })).reason).toBe(0);
    }
  },
);

clause('3.1.1 [MQTT-3.1.3-6]', 'clients with an empty identifier do not meet', async (version) => {
  const first = await server.connected(version, { clientId: '' });
  const second = await server.connected(version, { clientId: '' });
  expect(await second.fence()).toEqual([]);
  expect(await first.fence()).toEqual([]);
});

clause(
  '3.1.1 [MQTT-3.1.3-7] [MQTT-3.1.3-8]',
  'an empty identifier without clean session gets return code 2 and the close',
  async (version) => {
    const client = await server.open(version);
    client.send(connect(version, { clientId: '', clean: false }));
    expect((await client.closed()).map(({ type, reason }) => [type, reason])).toEqual([[Type.CONNACK, 2]]);
  },
);

clause(
  '3.1.1 [MQTT-3.1.3-9] | 5.0 [MQTT-3.1.3-8]',
  'a refused identifier is told and closes',
  async (version) => {
    const client = await server.open(version);
    client.send(connect(version, { clientId: 'new\nline' }));
    const came = await client.closed();
    expect(came.map(({ type, reason }) => [type, reason])).toEqual([
      [Type.CONNACK, version === 5 ? 0x85 : 2],
    ]);
  },
);

clause(
  '3.1.1 [MQTT-3.1.4-1] | 5.0 [MQTT-3.1.4-1]',
  'a CONNECT that is not well formed closes',
  async (version) => {
    const whole = connect(version, { clientId: unique('c') });
    const trailing = packet(0x10, whole.subarray(2), u8(0));
    const cut = packet(0x10, whole.subarray(2, -1));
    for (const bytes of [trailing, cut, packet(0x10)]) {
      const client = await server.open(version);
      client.send(bytes);
      const came = await client.closed();
      if (version === 4) expect(came).toEqual([]);
      for (const { reason } of came) expect([0x81, 0x82]).toContain(reason);
    }
  },
);

clause('5.0 [MQTT-3.1.4-2]', 'a CONNECT that fails further checks closes', async (version) => {
  await refuse(version, { will: { topic: 'a/#', payload: '' } }, 0x90, 0x81, 0x82);
  await refuse(version, { clientId: 'a\u0001' }, 0x85);
  const stranger = await strict.open(version);
  stranger.send(connect(version, { clientId: unique('c'), user: 'user', password: 'guessed' }));
  await expectRefused(stranger, 0x86, 0x87);
});

clause(
  '3.1.1 [MQTT-3.1.4-2] | 5.0 [MQTT-3.1.4-3]',
  'who comes with the same identifier takes over',
  async (version) => {
    const clientId = unique('c');
    const first = await server.connected(version, { clientId });
    const second = await server.connected(version, { clientId });
    await expectClosed(first, 0x8e);
    expect(await second.fence()).toEqual([]);
  },
);

clause(
  '3.1.1 [MQTT-3.1.4-4] [MQTT-3.2.0-1] | 5.0 [MQTT-3.1.4-5] [MQTT-3.2.0-1]',
  'an accepted CONNECT is answered with 0 before anything else',
  async (version) => {
    const topic = unique();
    const client = await server.open(version);
    client.send(
      connect(version, { clientId: unique('c') }),
      subscribe(version, 1, [[topic, 0]]),
      publish(version, topic, 'early'),
      pingreq(),
    );
    const connack = await client.next();
    expect([connack.type, connack.reason]).toEqual([Type.CONNACK, 0]);
    expect((await client.next()).type).toBe(Type.SUBACK);
    expect(publishedIn([await client.next()])).toEqual([`${topic}=early`]);
  },
);

clause(
  '3.1.1 [MQTT-3.1.4-5] | 5.0 [MQTT-3.1.4-6]',
  'what follows a refused CONNECT is not processed',
  async (version) => {
    const topic = unique();
    const watcher = await server.connected(version);
    await watcher.subscribe([[topic, 0]]);
    const client = await server.open(version);
    client.send(
      connect(version, { clientId: 'new\nline' }),
      publish(version, topic, 'never', { retain: true }),
      subscribe(version, 1, [[topic, 0]]),
      pingreq(),
    );
    expect((await client.closed()).map(({ type }) => type)).toEqual([Type.CONNACK]);
    expect(await watcher.fence()).toEqual([]);
  },
);

clause('3.1.1 [MQTT-3.2.2-6]', 'where no return code fits there is no CONNACK', async (version) => {
  // Nothing says "flags are wrong": the connection only closes.
  const client = await server.open(version);
  client.send(connect(version, { clientId: unique('c'), flags: 0x03 }));
  expect(await client.closed()).toEqual([]);
});

clause(
  '3.1.1 [MQTT-7.1.1-1] | 5.0 [MQTT-4.2.0-1]',
  'packets may come byte by byte and many at once',
  async (version) => {
    const topic = unique();
    const client = await server.open(version);
    for (const byte of connect(version, { clientId: unique('c') })) {
      client.send(Buffer.from([byte]));
      // The server has its turn, or the bytes would come together.
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    await client.expect(Type.CONNACK);
    await client.subscribe([[topic, 0]]);
    const many = Array.from({ length: 200 }, (_, n) => publish(version, topic, String(n)));
    const all = Buffer.concat(many);
    for (let at = 0; at < all.length; at += 777) client.send(all.subarray(at, at + 777));
    const came = publishedIn(await client.fence());
    expect(came).toEqual(many.map((_, n) => `${topic}=${n}`));
  },
);

clause('3.1.1 [MQTT-7.0.0-2]', 'nothing beyond the specification is asked of a client', async (version) => {
  const client = await server.open(version);
  expect((await client.connect({ clientId: 'plain' })).reason).toBe(0);
  await client.subscribe([['plain/topic', 2]]);
  expect((await client.publish('plain/other', 'x', { qos: 2 }))?.type).toBe(Type.PUBREC);
});

clause('3.1.1 [MQTT-7.0.0-1]', 'as a client of another server it keeps the rules for clients', async () => {
  const heard: string[] = [];
  const underWay = new Set<number>();
  // Parsed by an independent codec, which refuses what is malformed.
  const url = await startScriptedBroker((packet, side) => {
    heard.push(packet.cmd);
    const { messageId = 0 } = packet;
    if (packet.cmd === 'publish' && packet.qos > 0) {
      expect(messageId).toBeGreaterThan(0);
      expect(packet.dup).toBe(false);
      expect(underWay).not.toContain(messageId);
      underWay.add(messageId);
      side.send({ cmd: packet.qos === 1 ? 'puback' : 'pubrec', messageId });
      if (packet.qos === 1) underWay.delete(messageId);
    }
    if (packet.cmd === 'pubrel') {
      expect(underWay.delete(messageId)).toBe(true);
      side.send({ cmd: 'pubcomp', messageId });
    }
    return packet.cmd !== 'connect';
  });
  const { link } = await openLink('out', url, { connection: { version: '3.1.1' } });
  const batch = [0, 1, 2].map((reliability) =>
    outside(reliability, { reliability: reliability as 0 | 1 | 2 }),
  );
  expect(await link.send(batch)).toEqual([null, null, null]);
  await link.close();
  expect(heard).toEqual(['connect', 'publish', 'publish', 'publish', 'pubrel', 'disconnect']);
  expect(underWay.size).toBe(0);
});
