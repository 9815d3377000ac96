/**
 * One million different device topics through one mapping: one Kafka topic, every record there, and memory that does
 * not follow the number of topics. The publisher writes packets itself, because a client library would take minutes.
 */
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { listProcessTree, readResidentBytes } from '../bench/measure.ts';
import { type Gateway, startGateway } from './gateway.ts';
import { describeWith, run } from './programs.ts';

const TOPICS = 1_000_000;
const WARM_TOPICS = 600_000;
const WINDOW = 5000;
/** What the heap may float between two collections; a map of the other topics would be more than that. */
const GROWTH_MEBIBYTES = 72;
const SECONDS_MAX = 100;

/** Publishes `first` to `end` at QoS 1 and resolves when every one was acknowledged. */
function publishDevices(port: number, first: number, end: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let sent = first;
    let acknowledged = first;
    let rest = 0; // bytes of a PUBACK that came in two pieces
    let greeted = false;
    const send = (): void => {
      const packets: Buffer[] = [];
      while (sent < end && sent - acknowledged < WINDOW) {
        const topic = Buffer.from(`devices/device-${String(sent).padStart(7, '0')}/telemetry`);
        const packet = Buffer.alloc(2 + 2 + topic.length + 2 + 8);
        packet[0] = 0x32;
        packet[1] = packet.length - 2;
        packet.writeUInt16BE(topic.length, 2);
        topic.copy(packet, 4);
        packet.writeUInt16BE((sent % 65_535) + 1, 4 + topic.length);
        packet.write('reading1', 6 + topic.length);
        packets.push(packet);
        sent++;
      }
      if (packets.length > 0) socket.write(Buffer.concat(packets));
    };
    socket.on('error', reject).on('close', () => reject(new Error(`closed after ${acknowledged - first}`)));
    socket.on('data', (chunk: Buffer) => {
      let bytes = rest + chunk.length;
      if (!greeted) {
        greeted = true;
        bytes -= 4; // CONNACK
      }
      acknowledged += Math.floor(bytes / 4);
      rest = bytes % 4;
      if (acknowledged < end) {
        if (sent - acknowledged < WINDOW / 2) send();
        return;
      }
      socket.removeAllListeners('close').end(Buffer.from([0xe0, 0]));
      resolve();
    });
    const id = Buffer.from(`million-${first}`);
    const head = Buffer.from([0x10, 12 + id.length, 0, 4, 77, 81, 84, 84, 4, 2, 2, 88, 0, id.length]);
    socket.write(Buffer.concat([head, id]), send);
  });
}

describeWith(['kcat', 'curl'], 'one million device topics', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
    const rule = { match: 'devices/{device}/telemetry', stream: 'telemetry', key: '{device}', partitions: 6 };
    await run(
      `curl -sS --fail-with-body -X PUT http://127.0.0.1:${gateway.ports.http}/v1/mappings/telemetry -H 'content-type: application/json' -d '${JSON.stringify(rule)}'`,
    );
  });
  afterAll(() => gateway.stop());

  it('make one Kafka topic and flat memory', { timeout: (SECONDS_MAX + 60) * 1000 }, async () => {
    const readMebibytes = (): number => readResidentBytes(listProcessTree(gateway.pid)) / 2 ** 20;
    const begin = Date.now();
    await publishDevices(gateway.ports.mqtt, 0, WARM_TOPICS);
    const warm = readMebibytes();
    await publishDevices(gateway.ports.mqtt, WARM_TOPICS, TOPICS);
    const seconds = (Date.now() - begin) / 1000;
    const end = readMebibytes();
    process.stdout.write(
      `one million topics: ${seconds.toFixed(1)} s; resident ${warm.toFixed(0)} MiB after ${WARM_TOPICS}, ${end.toFixed(0)} MiB at the end\n`,
    );
    expect(seconds).toBeLessThan(SECONDS_MAX);
    expect(end - warm).toBeLessThan(GROWTH_MEBIBYTES);

    const server = `127.0.0.1:${gateway.ports.kafka}`;
    const metadata = JSON.parse((await run(`kcat -L -J -b ${server}`)).join('')) as {
      topics: { topic: string; partitions: unknown[] }[];
    };
    expect(metadata.topics.map(({ topic }) => topic)).toEqual(['telemetry']);
    expect(metadata.topics[0]?.partitions.length).toBe(6);
    const lines = await run(
      `kcat -C -b ${server} -t telemetry -o beginning -e -q -f '%k\\n' | sort -u | wc -l`,
      '',
      60_000,
    );
    expect(Number(lines[0])).toBe(TOPICS);
  });
});
