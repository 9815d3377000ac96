/**
 * What codec and encoder remember of a publisher's last message never shows: a sequence of messages that repeat topics,
 * properties and lengths is written as if each were the first.
 */

import fc from 'fast-check';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { expect, it } from 'vitest';
import { PublishFrame } from '../../../adapters/mqtt/codec/publish.ts';
import { PublishEncoder } from '../../../adapters/mqtt/codec/publish-encoder.ts';
import { Traffic } from '../../../adapters/mqtt/state/traffic.ts';
import { messageFromMqtt } from '../../../mappings/mqtt.ts';
import type { Reliability } from '../../../src/core/index.ts';
import { NO_REPLIES } from '../../support/doors.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { FakeTransport } from './mqtt-world.ts';

const PROPERTIES = [
  undefined,
  { contentType: 'a' },
  { contentType: 'b' },
  { contentType: 'a', messageExpiryInterval: 10 },
  { messageExpiryInterval: 3 },
  { correlationData: Buffer.alloc(200, 7) },
  { userProperties: { site: '1' }, payloadFormatIndicator: true },
];

/** Few of each, so that most messages repeat something of the one before. */
const publish = fc.record({
  topic: fc.constantFrom('a/b', 'a/c', 'longer/topic'),
  properties: fc.constantFrom(...PROPERTIES),
  payload: fc.constantFrom('xx', 'yy', 'zzz'),
  qos: fc.constantFrom<Reliability>(0, 0, 0, 1),
  retain: fc.boolean(),
  /** Sent so often, each after so long. */
  pausesMs: fc.array(fc.constantFrom(0, 0, 400, 1_000), { minLength: 1, maxLength: 3 }),
  packetBytesMax: fc.constantFrom(1e9, 1e9, 1e9, 20),
});

it('whatever came before', () => {
  fc.assert(
    fc.property(fc.array(publish, { minLength: 2, maxLength: 15 }), (packets) => {
      const clock = new ManualClock();
      const frame = new PublishFrame();
      const encoder = new PublishEncoder(clock, new Traffic(), NO_REPLIES);
      const repeated = packets.flatMap(({ pausesMs, ...packet }) =>
        pausesMs.map((passMs) => ({ ...packet, passMs })),
      );
      for (const { passMs, packetBytesMax, qos, retain, ...rest } of repeated) {
        const packet = { cmd: 'publish', dup: false, messageId: 1, qos, retain, ...rest } as Packet;
        const bytes = mqttPacket.generate(packet, { protocolVersion: 5 });
        const first = new PublishFrame();
        for (const each of [frame, first])
          each.read(5, bytes[0] as number, bytes, bytes[1]! > 127 ? 3 : 2, bytes.length);
        const [message, alone] = [frame, first].map((each) =>
          messageFromMqtt(each, each.address, 'p', clock.nowMs()),
        );
        clock.advance(passMs);
        const written = [
          [encoder, message!] as const,
          [new PublishEncoder(clock, new Traffic(), NO_REPLIES), alone!] as const,
        ].map(([by, what]) => {
          const transport = new FakeTransport();
          const isWritten = by.write(transport, what, true, qos, retain, false, 1, packetBytesMax);
          return [isWritten, transport.take().toString('latin1')];
        });
        expect(written[0]).toEqual(written[1]);
      }
    }),
    { numRuns: 500 },
  );
});
