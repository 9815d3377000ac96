/** In the middle of a chunk with many packets what they caused may leave, so that clients need not wait for the other half. */

import mqttPacket from 'mqtt-packet';
import { describe, expect, it, vi } from 'vitest';
import { openMqttWorld } from './mqtt-world.ts';

const publishes = (count: number, payload = 'x'.repeat(64)): Buffer =>
  Buffer.concat(
    Array.from({ length: count }, (_, index) =>
      mqttPacket.generate({
        cmd: 'publish',
        topic: 't',
        payload,
        qos: 1,
        messageId: index + 1,
        dup: false,
        retain: false,
      }),
    ),
  );

/** Packets that the publisher and a subscriber had been given each time that what was written might leave. */
async function writtenBy(chunk: Buffer): Promise<number[][]> {
  const world = await openMqttWorld();
  const publisher = await world.connected({ clientId: 'p' });
  const subscriber = await world.connected({ clientId: 's' });
  await subscriber.subscribe('t', 0);
  const sizes = { publish: publishes(1).length - 2, puback: 4 };
  const written: number[][] = [];
  vi.spyOn(publisher.transport, 'flushEarly').mockImplementation(() => {
    const acknowledged = publisher.transport.take().length / sizes.puback;
    written.push([acknowledged, subscriber.transport.take().length / sizes.publish]);
  });
  publisher.writeBytes(chunk);
  await publisher.read();
  return written;
}

describe('a chunk', () => {
  it('of 1 to 32 KiB may be answered when half of it is dealt with', async () => {
    expect(await writtenBy(publishes(100))).toEqual([[50, 50]]);
    expect(await writtenBy(publishes(15))).toEqual([[8, 8]]);
  });

  it('of less or more is dealt with as a whole', async () => {
    expect(await writtenBy(publishes(14))).toEqual([]);
    expect(await writtenBy(publishes(500))).toEqual([]);
  });

  it('that holds little but one large packet has no half', async () => {
    expect(await writtenBy(publishes(1, 'x'.repeat(4_000)))).toEqual([]);
    expect(await writtenBy(Buffer.concat([publishes(1), publishes(1, 'x'.repeat(4_000))]))).toEqual([]);
  });

  it('begins where a packet that the chunk before left unfinished ends', async () => {
    const world = await openMqttWorld();
    const publisher = await world.connected({ clientId: 'p' });
    const flushed = vi.spyOn(publisher.transport, 'flushEarly');
    const all = publishes(100);
    publisher.writeBytes(all.subarray(0, 1_000));
    expect(flushed).toHaveBeenCalledTimes(0);
    publisher.writeBytes(all.subarray(1_000));
    expect(flushed).toHaveBeenCalledTimes(1);
    expect((await publisher.read()).length).toBe(100);
  });
});
