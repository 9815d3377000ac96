/**
 * What a frame remembers of the packets before, topic, properties or both in one piece, never shows: every sequence of a few
 * packets that share some of it reads as if each were the first of its connection.
 */
import mqttPacket from 'mqtt-packet';
import { expect, it } from 'vitest';
import { PublishFrame } from '../../../adapters/mqtt/codec/publish.ts';
import { readPublish } from '../../support/publish-frame.ts';

const publish = (topic: string, contentType: string | null, qos: 0 | 1, body = 'body'): Buffer =>
  mqttPacket.generate(
    {
      cmd: 'publish',
      topic,
      payload: body,
      qos,
      retain: false,
      dup: false,
      ...(qos === 0 ? {} : { messageId: 7 }),
      properties: contentType === null ? {} : { contentType, messageExpiryInterval: contentType.length },
    },
    { protocolVersion: 5 },
  );

const PACKETS = [
  publish('a/b', 'one', 0),
  publish('a/b', 'two', 0, ''),
  publish('a/b', null, 0),
  publish('a/c', 'one', 0, 'another'),
  publish('a/b', 'one', 1),
  // Its topic begins as another's whole front does.
  publish('a/bb', 'seventeen', 0),
];
const LENGTH = 6;

const read = (frame: PublishFrame, packet: Buffer): string => JSON.stringify(readPublish(frame, 5, packet));

it('in every order', () => {
  const expected = PACKETS.map((packet) => read(new PublishFrame(), packet));
  expect(new Set(expected).size).toBe(PACKETS.length);
  const wrong: string[] = [];
  for (let sequence = 0; sequence < PACKETS.length ** LENGTH; sequence++) {
    const frame = new PublishFrame();
    for (let at = 0, rest = sequence; at < LENGTH; at++, rest = Math.floor(rest / PACKETS.length)) {
      const which = rest % PACKETS.length;
      if (read(frame, PACKETS[which] as Buffer) !== expected[which]) wrong.push(`${sequence} at ${at}`);
    }
  }
  expect(wrong.slice(0, 5)).toEqual([]);
});
