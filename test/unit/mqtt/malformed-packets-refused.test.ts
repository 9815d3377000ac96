/** Each case is a rule that brokers are known to get wrong; the bytes follow a CONNECT that was accepted. */

import { describe, expect, it } from 'vitest';
import { openMqttWorld } from './mqtt-world.ts';

const BOTH = [4, 5] as const;

/** `bytes` by version; what version 5 is told. */
interface Case {
  readonly rule: string;
  readonly v4?: string;
  readonly v5?: string;
  readonly code: number;
}

const CASES: readonly Case[] = [
  { rule: '[MQTT-2.1.3-1] flags of PINGREQ', v4: 'c1 00', v5: 'c1 00', code: 0x81 },
  { rule: '[MQTT-2.1.3-1] flags of PUBACK', v4: '42 02 0001', v5: '42 02 0001', code: 0x81 },
  {
    rule: '[MQTT-3.8.1-1] flags of SUBSCRIBE',
    v4: '80 06 0001 0001 61 00',
    v5: '80 07 0001 00 0001 61 00',
    code: 0x81,
  },
  {
    rule: '[MQTT-3.10.1-1] flags of UNSUBSCRIBE',
    v4: 'a0 05 0001 0001 61',
    v5: 'a0 06 0001 00 0001 61',
    code: 0x81,
  },
  { rule: '[MQTT-3.6.1-1] flags of PUBREL', v4: '60 02 0001', v5: '60 02 0001', code: 0x81 },
  { rule: 'packet type 0', v4: '00 00', v5: '00 00', code: 0x81 },
  { rule: 'AUTH before version 5', v4: 'f0 00', code: 0x81 },
  { rule: '[MQTT-4.12.0-6] AUTH without a method', v5: 'f0 00', code: 0x82 },
  { rule: 'CONNACK from a client', v4: '20 02 0000', v5: '20 03 000000', code: 0x82 },
  { rule: 'SUBACK from a client', v4: '90 03 000100', v5: '90 04 00010000', code: 0x82 },
  { rule: 'PINGRESP from a client', v4: 'd0 00', v5: 'd0 00', code: 0x82 },
  { rule: 'PINGREQ with a body', v4: 'c0 01 00', v5: 'c0 01 00', code: 0x81 },
  { rule: 'five bytes of remaining length', v4: 'c0 80 80 80 80 01', v5: 'c0 80 80 80 80 01', code: 0x81 },
  { rule: '[MQTT-1.5.5-1] remaining length not minimal', v4: 'c0 80 00', v5: 'c0 80 00', code: 0x81 },
  { rule: '[MQTT-1.5.5-1] property length not minimal', v5: '30 06 0001 74 80 00 78', code: 0x81 },
  {
    rule: '[MQTT-1.5.4-1] overlong UTF-8 in a topic',
    v4: '30 04 0002 c0af',
    v5: '30 05 0002 c0af 00',
    code: 0x81,
  },
  {
    rule: '[MQTT-1.5.4-1] surrogates in a topic',
    v4: '30 05 0003 eda080',
    v5: '30 06 0003 eda080 00',
    code: 0x81,
  },
  {
    rule: '[MQTT-1.5.4-2] U+0000 in a topic',
    v4: '30 05 0003 610062',
    v5: '30 06 0003 610062 00',
    code: 0x81,
  },
  {
    rule: '[MQTT-2.2.1-3] PUBLISH with packet identifier 0',
    v4: '32 05 0001 74 0000',
    v5: '32 06 0001 74 0000 00',
    code: 0x81,
  },
  {
    rule: '[MQTT-2.2.1-3] SUBSCRIBE with packet identifier 0',
    v4: '82 06 0000 0001 61 00',
    v5: '82 07 0000 00 0001 61 00',
    code: 0x81,
  },
  {
    rule: '[MQTT-2.2.1-3] UNSUBSCRIBE with packet identifier 0',
    v4: 'a2 05 0000 0001 61',
    v5: 'a2 06 0000 00 0001 61',
    code: 0x81,
  },
  { rule: '[MQTT-3.3.1-4] QoS 3', v4: '36 05 0001 74 0001', v5: '36 06 0001 74 0001 00', code: 0x81 },
  { rule: '[MQTT-3.3.1-2] DUP with QoS 0', v4: '38 03 0001 74', v5: '38 04 0001 74 00', code: 0x81 },
  { rule: '[MQTT-3.3.2-2] # in a topic name', v4: '30 03 0001 23', v5: '30 04 0001 23 00', code: 0x90 },
  { rule: '[MQTT-3.3.2-2] + in a topic name', v4: '30 03 0001 2b', v5: '30 04 0001 2b 00', code: 0x90 },
  { rule: '[MQTT-4.7.3-1] empty topic', v4: '30 02 0000', v5: '30 03 0000 00', code: 0x82 },
  { rule: 'topic longer than the packet', v4: '30 03 0005 74', v5: '30 03 0005 74', code: 0x81 },
  { rule: 'PUBLISH of one byte', v4: '30 01 00', v5: '30 01 00', code: 0x81 },
  { rule: '[MQTT-3.8.3-2] SUBSCRIBE without a filter', v4: '82 02 0001', v5: '82 03 0001 00', code: 0x82 },
  { rule: '[MQTT-3.10.3-2] UNSUBSCRIBE without a filter', v4: 'a2 02 0001', v5: 'a2 03 0001 00', code: 0x82 },
  {
    rule: '[MQTT-3.8.3-5] reserved options',
    v4: '82 06 0001 0001 61 04',
    v5: '82 07 0001 00 0001 61 c0',
    code: 0x81,
  },
  {
    rule: 'subscription with QoS 3',
    v4: '82 06 0001 0001 61 03',
    v5: '82 07 0001 00 0001 61 03',
    code: 0x81,
  },
  { rule: 'retain handling 3', v5: '82 07 0001 00 0001 61 30', code: 0x82 },
  {
    rule: '[MQTT-3.8.3-4] No Local on a shared subscription',
    v5: '82 0f 0001 00 0009 2473686172652f672f 04',
    code: 0x82,
  },
  { rule: 'SUBSCRIBE cut short', v4: '82 05 0001 0005 61', v5: '82 06 0001 00 0005 61', code: 0x81 },
  { rule: 'PUBACK of one byte', v4: '40 01 00', v5: '40 01 00', code: 0x81 },
  { rule: 'PUBACK with packet identifier 0', v4: '40 02 0000', v5: '40 02 0000', code: 0x81 },
  { rule: 'PUBACK with an unknown reason', v5: '40 03 0001 01', code: 0x81 },
  { rule: 'PUBACK longer than its properties', v5: '40 05 0001 00 00 00', code: 0x81 },
  { rule: 'DISCONNECT with a body before version 5', v4: 'e0 01 00', code: 0x81 },
  { rule: 'DISCONNECT with a reason of servers', v5: 'e0 01 8b', code: 0x82 },
  {
    rule: 'MQTT 5.0 3.14.2.2.2 session expiry in DISCONNECT where there was none',
    v5: 'e0 07 00 05 11 00000001',
    code: 0x82,
  },
  { rule: 'property that does not exist', v5: '30 06 0001 74 02 7f00', code: 0x81 },
  { rule: 'property of CONNECT in PUBLISH', v5: '30 07 0001 74 03 210001', code: 0x82 },
  { rule: 'payload format twice', v5: '30 08 0001 74 04 01010101', code: 0x82 },
  { rule: 'payload format 2', v5: '30 06 0001 74 02 0102', code: 0x82 },
  { rule: 'message expiry twice', v5: '30 0e 0001 74 0a 0200000001 0200000001', code: 0x82 },
  { rule: '[MQTT-3.3.4-6] subscription identifier from a client', v5: '30 06 0001 74 02 0b01', code: 0x82 },
  { rule: 'subscription identifier 0', v5: '82 09 0001 02 0b00 0001 61 00', code: 0x82 },
  { rule: 'subscription identifier twice', v5: '82 0b 0001 04 0b010b01 0001 61 00', code: 0x82 },
  { rule: '[MQTT-3.3.2-8] topic alias 0', v5: '30 07 0001 74 03 230000', code: 0x94 },
  { rule: '[MQTT-3.3.2-9] topic alias above the maximum', v5: '30 07 0001 74 03 230065', code: 0x94 },
  { rule: 'topic alias that stands for nothing', v5: '30 06 0000 03 230001', code: 0x82 },
  { rule: '[MQTT-3.3.2-14] wildcard in the response topic', v5: '30 08 0001 74 04 08000123', code: 0x82 },
  { rule: 'property cut short', v5: '30 06 0001 74 02 0200', code: 0x81 },
  { rule: 'properties longer than the packet', v5: '30 05 0001 74 05 01', code: 0x81 },
  { rule: 'user property whose value is no UTF-8', v5: '30 0b 0001 74 07 26 0001 61 0001 ff', code: 0x81 },
];

for (const version of BOTH) {
  describe(version === 5 ? 'MQTT 5' : 'MQTT 3.1.1', () => {
    for (const { rule, v4, v5, code } of CASES) {
      const bytes = version === 5 ? v5 : v4;
      if (bytes === undefined) continue;
      it(rule, async () => {
        const client = await (await openMqttWorld()).connected({ version });
        client.writeBytes(bytes);
        const answer = await client.readBytes();
        expect(client.ended?.reason).toMatch(/protocol-error|limit-reached/);
        if (version === 5) {
          expect(answer[0]).toBe(0xe0);
          expect(answer[2]).toBe(code);
        } else {
          expect(answer).toHaveLength(0);
        }
      });
    }
  });
}

it('[MQTT-3.1.2-24] a packet above the maximum is refused with its header, before its body', async () => {
  const client = await (await openMqttWorld({ mqttLimits: { packetBytesMax: 1000 } })).connected({
    version: 5,
  });
  client.writeBytes('30 e6 07');
  expect((await client.readBytes())[2]).toBe(0x95);
  expect(client.ended?.reason).toBe('limit-reached');
});

it('[MQTT-1.5.4-3] U+FEFF is kept', async () => {
  const world = await openMqttWorld();
  const client = await world.connected();
  await client.subscribe('\ufeffa');
  await client.publish('\ufeffa', 'x');
  const publish = (await client.publish('a', 'y')).concat(await client.read());
  expect(publish).toHaveLength(0);
  expect(world.core.counters.delivered).toBe(1);
});

it('MQTT 3.1 may set DUP on SUBSCRIBE', async () => {
  const client = await (await openMqttWorld()).connected({ version: 3 });
  client.writeBytes('8a 06 0001 0001 61 00');
  expect((await client.readBytes()).toString('hex')).toBe('9003000100');
});
