/**
 * Microseconds of CPU for each delivered message from a received chunk to written bytes, without sockets: the codec,
 * the adapter and the core alone. Run by hand: `node test/unit/mqtt/path-benchmark.ts [seconds]`.
 */

import mqttPacket, { type Packet } from 'mqtt-packet';
import type { ConnectionHandler } from '../../../src/host.ts';
import { FakeTransport, openMqttWorld } from './mqtt-world.ts';

const SECONDS = Number(process.argv[2] ?? 1);
const CHUNK_BYTES = 64 * 1024;

/** Writes into one slab that is given up when it is full, as the kernel would take it. */
class SinkTransport extends FakeTransport {
  bytes = 0;
  packets = 0;
  #at = 0;
  #slab = Buffer.allocUnsafeSlow(CHUNK_BYTES);

  override reserve(bytes: number): number {
    if (this.#at + bytes > CHUNK_BYTES) this.#at = 0;
    const at = this.#at;
    this.#at += bytes;
    this.bytes += bytes;
    this.packets++;
    this.buffer = this.#slab;
    return at;
  }

  override write(bytes: Uint8Array): void {
    this.bytes += bytes.length;
  }

  override pass(_chunk: Buffer, start: number, end: number): void {
    this.bytes += end - start;
    this.packets++;
  }

  restart(): void {
    this.#at = 0;
  }

  get slab(): Buffer {
    return this.#slab;
  }

  get end(): number {
    return this.#at;
  }
}

async function attach(
  world: Awaited<ReturnType<typeof openMqttWorld>>,
  version: number,
  clientId: string,
): Promise<[ConnectionHandler, SinkTransport]> {
  const transport = new SinkTransport();
  const handler = world.adapter.connect(transport);
  transport.handler = handler;
  handler.received(
    mqttPacket.generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: version,
      clean: true,
      clientId,
      keepalive: 0,
    } as Packet),
  );
  await world.clock.turn();
  return [handler, transport];
}

async function run(
  name: string,
  version: 4 | 5,
  qos: 0 | 1,
  subscribers: number,
  properties?: object,
): Promise<void> {
  const world = await openMqttWorld();
  const [publisher, publisherOut] = await attach(world, version, 'publisher');
  const sinks: [ConnectionHandler, SinkTransport][] = [];
  for (let i = 0; i < subscribers; i++) {
    const [handler, transport] = await attach(world, version, `subscriber-${i}`);
    handler.received(
      mqttPacket.generate(
        { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'mqb/t/0', qos }] } as Packet,
        { protocolVersion: version },
      ),
    );
    await world.clock.turn();
    sinks.push([handler, transport]);
  }
  const packets: Buffer[] = [];
  for (let size = 0, id = 1; size < CHUNK_BYTES; id++) {
    const packet = mqttPacket.generate(
      {
        cmd: 'publish',
        topic: 'mqb/t/0',
        payload: Buffer.alloc(64, 1),
        qos,
        messageId: id,
        dup: false,
        retain: false,
        ...(properties === undefined ? {} : { properties }),
      } as Packet,
      { protocolVersion: version },
    );
    packets.push(packet);
    size += packet.length;
    if (qos === 1 && id === 100) break;
  }
  const template = Buffer.concat(packets);
  const ack = Buffer.alloc(4 * 65536);
  let messages = 0;
  const start = process.cpuUsage();
  const until = performance.now() + SECONDS * 1000;
  while (performance.now() < until) {
    for (let round = 0; round < 20; round++) {
      for (const [, transport] of sinks) transport.restart();
      publisher.received(Buffer.from(template));
      messages += packets.length;
      if (qos === 1) {
        for (const [handler, transport] of sinks) {
          const bytes = acksFor(transport.slab, transport.end, ack);
          handler.received(Buffer.from(ack.subarray(0, bytes)));
        }
      }
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  const used = process.cpuUsage(start);
  const delivered = messages * subscribers;
  const micros = (used.user + used.system) / delivered;
  const seen = sinks.reduce((sum, [, transport]) => sum + transport.packets, 0);
  console.log(
    `${name.padEnd(28)} ${micros.toFixed(3)} µs/message  ${(1 / micros).toFixed(2)} M/s  delivered ${seen} of ${delivered}, acks ${publisherOut.packets}`,
  );
}

/** Acknowledges every PUBLISH in the slab. */
function acksFor(slab: Buffer, end: number, out: Buffer): number {
  let at = 0;
  let to = 0;
  while (at < end) {
    let length = slab[at + 1] as number;
    let head = 2;
    if (length >= 0x80) {
      length = (length & 0x7f) | ((slab[at + 2] as number) << 7);
      head = 3;
    }
    const topicBytes = slab.readUInt16BE(at + head);
    const idAt = at + head + 2 + topicBytes;
    out[to++] = 0x40;
    out[to++] = 2;
    out[to++] = slab[idAt] as number;
    out[to++] = slab[idAt + 1] as number;
    at += head + length;
  }
  return to;
}

const only = process.argv[3];
const CASES: [string, 4 | 5, 0 | 1, number, object?][] = [
  ['3.1.1 QoS 0 one to one', 4, 0, 1],
  ['5 QoS 0 one to one', 5, 0, 1],
  [
    '5 QoS 0 three properties',
    5,
    0,
    1,
    { contentType: 'text/plain', userProperties: { a: 'b' }, messageExpiryInterval: 60 },
  ],
  ['3.1.1 QoS 1 one to one', 4, 1, 1],
  ['5 QoS 1 one to one', 5, 1, 1],
  ['3.1.1 QoS 0 one to 100', 4, 0, 100],
  ['3.1.1 QoS 1 one to 100', 4, 1, 100],
];
for (const [name, version, qos, subscribers, properties] of CASES) {
  if (only === undefined || name.includes(only)) await run(name, version, qos, subscribers, properties);
}
