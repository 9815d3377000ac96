/** Records produced with each codec reach MQTT subscribers and AMQP queues, with key, headers and time. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Gateway, startGateway } from './gateway.ts';
import { describeWith, kafkaTool, messagesOf, python, run, start, subscribe, waitFor } from './programs.ts';

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;

describeWith(['mosquitto-clients', 'python', 'kcat'], 'Kafka to MQTT and AMQP', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.stop());

  it('kcat -P with each codec reaches alerts/# and a queue bound with alerts.*', async () => {
    const queue = start(
      python('pika-consume.py', gateway.ports.amqp, 'amq.topic', 'alerts', 'alerts.*', CODECS.length * 2),
    );
    await queue.waitForLine('ready');
    const subscriber = await subscribe(gateway.ports.mqtt, "-V 5 -q 1 -t 'alerts/#' -F '%t|%P|%p'");
    const before = Date.now();
    for (const codec of CODECS) {
      await run(
        `kcat -P -b 127.0.0.1:${gateway.ports.kafka} -t alerts.fire -z ${codec} -k key-${codec} -H floor=3 -H unit=${codec}`,
        `${codec} one\n${codec} two\n`,
      );
    }
    const bodies = CODECS.flatMap((codec) => [`${codec} one`, `${codec} two`]);
    await waitFor('every record at the subscriber', () => messagesOf(subscriber).length >= bodies.length);
    const seen = messagesOf(subscriber).map((line) => line.split('|'));
    expect(seen.map(([, , body]) => body).sort()).toEqual([...bodies].sort());
    for (const [topic, properties, body] of seen) {
      expect(topic).toBe('alerts/fire');
      expect(properties).toContain('floor:3');
      expect(properties).toContain(`unit:${body?.split(' ')[0]}`);
      expect(properties).toContain(`x-gw-key:key-${body?.split(' ')[0]}`);
    }

    const rows = (await queue.waitForLines(bodies.length + 1)).slice(1).map((line) => JSON.parse(line));
    expect(rows.map((row) => row.body).sort()).toEqual([...bodies].sort());
    for (const row of rows) {
      const codec = row.body.split(' ')[0];
      expect(row).toMatchObject({ exchange: 'amq.topic', routing_key: 'alerts.fire' });
      expect(row.headers).toMatchObject({ floor: '3', unit: codec });
      const key = row.headers['x-gw-key'];
      expect(typeof key === 'string' ? key : Buffer.from(key.base64, 'base64').toString()).toBe(
        `key-${codec}`,
      );
      expect(row.headers.timestamp_in_ms ?? row.timestamp * 1000).toBeGreaterThan(before - 2000);
      expect(row.headers.timestamp_in_ms ?? row.timestamp * 1000).toBeLessThan(Date.now() + 2000);
    }
  });

  it('kcat reads back the very records, whatever their codec', async () => {
    const server = `127.0.0.1:${gateway.ports.kafka}`;
    for (const codec of CODECS) {
      const topic = `verbatim.${codec}`;
      const lines = Array.from({ length: 500 }, (_, index) => `record ${index} ${'x'.repeat(index % 50)}`);
      await run(`kcat -P -b ${server} -t ${topic} -p 0 -z ${codec}`, `${lines.join('\n')}\n`);
      expect(await run(`kcat -C -b ${server} -t ${topic} -o beginning -e -q -f '%s\\n'`)).toEqual(lines);
    }
  });
});

describeWith(['mosquitto-clients', 'kafka'], 'the console producer to MQTT', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.stop());

  for (const codec of ['gzip', 'snappy', 'lz4', 'zstd']) {
    it(`with ${codec}`, async () => {
      const subscriber = await subscribe(gateway.ports.mqtt, `-t console/${codec} -v`);
      await run(
        `${kafkaTool('ConsoleProducer')} --bootstrap-server 127.0.0.1:${gateway.ports.kafka} --topic console.${codec} --compression-codec ${codec}`,
        'one\ntwo\nthree\n',
      );
      for (const word of ['one', 'two', 'three']) await subscriber.waitForLine(`console/${codec} ${word}`);
    });
  }
});
