/**
 * An operator's mapping, put with curl: many device topics, one Kafka topic keyed by device, both ways, in order for
 * each device, and still there after a restart.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Gateway, startGateway } from './gateway.ts';
import { describeWith, messagesOf, run, start, subscribe } from './programs.ts';

const RULE = {
  match: 'devices/{device}/telemetry',
  stream: 'telemetry',
  key: '{device}',
  partitions: 6,
};
const DEVICES = 40;
const ROUNDS = 25;

describeWith(
  ['mosquitto-clients', 'kcat', 'curl'],
  'a mapping from device topics to one keyed Kafka topic',
  () => {
    let gateway: Gateway;
    beforeAll(async () => {
      gateway = await startGateway();
      await run(
        `curl -sS --fail-with-body -X PUT ${api()}/v1/mappings/telemetry -H 'content-type: application/json' -d '${JSON.stringify(RULE)}'`,
      );
    });
    afterAll(() => gateway.stop());
    const api = (): string => `http://127.0.0.1:${gateway.ports.http}`;
    const server = (): string => `127.0.0.1:${gateway.ports.kafka}`;
    const publish = (options: string, input = ''): Promise<string[]> =>
      run(`mosquitto_pub -h 127.0.0.1 -p ${gateway.ports.mqtt} ${options}`, input);

    it('spreads devices over the partitions and keeps the order of each', async () => {
      const devices = Array.from({ length: DEVICES }, (_, index) => `d${index}`);
      const numbers = Array.from({ length: ROUNDS }, (_, index) => String(index)).join('\n');
      // Eight publishers at a time, so that devices interleave.
      for (let at = 0; at < DEVICES; at += 8) {
        await Promise.all(
          devices
            .slice(at, at + 8)
            .map((device) => publish(`-t devices/${device}/telemetry -q 1 -l`, numbers)),
        );
      }
      const lines = await run(`kcat -C -b ${server()} -t telemetry -o beginning -e -q -f '%p %k %s\\n'`);
      expect(lines.length).toBe(DEVICES * ROUNDS);
      const partitionsUsed = new Set<string>();
      for (const device of devices) {
        const own = lines.map((line) => line.split(' ')).filter(([, key]) => key === device);
        expect(own.map(([, , value]) => Number(value))).toEqual(Array.from({ length: ROUNDS }, (_, n) => n));
        const partitions = new Set(own.map(([partition]) => partition!));
        expect(partitions.size).toBe(1);
        for (const partition of partitions) partitionsUsed.add(partition);
      }
      expect(partitionsUsed.size).toBe(RULE.partitions);
    });

    it('a record produced with a device for its key arrives at that device topic', async () => {
      const subscriber = await subscribe(gateway.ports.mqtt, "-t 'devices/+/telemetry' -v");
      await run(`kcat -P -b ${server()} -t telemetry -k d7`, 'hello\n');
      await subscriber.waitForLine('devices/d7/telemetry hello');
    });

    it('a published message comes back to MQTT once, not a second time through the stream', async () => {
      const subscriber = await subscribe(gateway.ports.mqtt, "-t 'devices/once/telemetry' -v -q 1");
      await publish('-t devices/once/telemetry -m only -q 1');
      await publish('-t devices/once/telemetry -m end -q 1');
      await subscriber.waitForLine('devices/once/telemetry end');
      expect(messagesOf(subscriber)).toEqual(['devices/once/telemetry only', 'devices/once/telemetry end']);
    });

    it('is listed, explained and tried out over the API', async () => {
      const [mapping] = await run(`curl -sS --fail-with-body ${api()}/v1/mappings/telemetry`);
      expect(mapping).toContain('devices/{device}/telemetry');
      const explained = await run(
        `curl -sS --fail-with-body '${api()}/v1/explain?protocol=mqtt&address=devices/d1/telemetry'`,
      );
      expect(explained.join('')).toContain('telemetry');
      const spec = await run(`curl -sS --fail-with-body ${api()}/openapi.json`);
      expect(JSON.parse(spec.join('')).openapi).toMatch(/^3\.1/);
    });

    it('changes while traffic flows', async () => {
      const rule = { match: 'changing/{device}/state', stream: 'changing', key: '{device}', partitions: 2 };
      await run(
        `curl -sS --fail-with-body -X PUT ${api()}/v1/mappings/changing -H 'content-type: application/json' -d '${JSON.stringify(rule)}'`,
      );
      const consumer = start(`kcat -C -b ${server()} -t changing -o beginning -u -q -f '%k %s\\n'`);
      await publish('-t changing/a/state -m 1 -q 1');
      await consumer.waitForLine('a 1');
      await run(`curl -sS --fail-with-body -X DELETE ${api()}/v1/mappings/changing`);
      await publish('-t changing/a/state -m unmapped -q 1');
      await run(
        `curl -sS --fail-with-body -X PUT ${api()}/v1/mappings/changing -H 'content-type: application/json' -d '${JSON.stringify(rule)}'`,
      );
      await publish('-t changing/a/state -m 2 -q 1');
      await consumer.waitForLine('a 2');
      expect(consumer.lines).not.toContain('a unmapped');
    });

    it('a rule that makes no sense is refused with the place of the fault', async () => {
      const answer = await run(
        `curl -sS -w '\\n%{http_code}' -X PUT ${api()}/v1/mappings/bad -H 'content-type: application/json' -d '{"match": "a/{x}/b", "stream": "s", "key": "{y}"}'`,
      );
      expect(answer.at(-1)).toMatch(/^4\d\d$/);
      expect(answer.join('')).toContain('key');
    });

    it('survives a restart', async () => {
      await gateway.restart();
      const [mapping] = await run(`curl -sS --fail-with-body ${api()}/v1/mappings/telemetry`);
      expect(mapping).toContain('devices/{device}/telemetry');
      await publish('-t devices/after-restart/telemetry -m back -q 1');
      const lines = await run(`kcat -C -b ${server()} -t telemetry -o beginning -e -q -f '%k %s\\n'`);
      expect(lines).toContain('after-restart back');
    });
  },
);
