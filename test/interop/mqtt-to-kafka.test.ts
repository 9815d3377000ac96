/** What MQTT clients publish, read with Kafka's console consumer and with kcat, before and after a restart. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Gateway, startGateway } from './gateway.ts';
import { describeWith, kafkaTool, pause, run, start } from './programs.ts';

describeWith(['mosquitto-clients', 'kafka', 'kcat'], 'MQTT to Kafka', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.stop());
  const publish = (options: string): Promise<string[]> =>
    run(`mosquitto_pub -h 127.0.0.1 -p ${gateway.ports.mqtt} ${options}`);
  const server = (): string => `127.0.0.1:${gateway.ports.kafka}`;

  it('the console consumer and kcat print what mosquitto_pub sends; --from-beginning gives it again after a restart', async () => {
    const console_ = start(
      `${kafkaTool('consumer.ConsoleConsumer')} --bootstrap-server ${server()} --topic sensors.temperature`,
    );
    // The topic exists from the moment that a client named it; the console consumer reads from where it joined.
    let sent = 0;
    while (console_.lines.length === 0 && sent < 60) {
      await publish(`-t sensors/temperature -m ${sent++} -q 1`);
      await pause(300);
    }
    expect(console_.lines.length).toBeGreaterThan(0);
    const kcat = start(`kcat -C -b ${server()} -t sensors.temperature -o beginning -u -f '%s\\n'`);
    const marks = ['mark-1', 'mark-2', 'mark-3'];
    for (const mark of marks) await publish(`-t sensors/temperature -m ${mark} -q 1`);
    await console_.waitForLine('mark-3');
    await kcat.waitForLine('mark-3');
    expect(console_.lines.slice(-3)).toEqual(marks);
    const all = kcat.lines.slice();
    await console_.stop();
    await kcat.stop();

    const replay = async (): Promise<string[]> =>
      run(
        `${kafkaTool('consumer.ConsoleConsumer')} --bootstrap-server ${server()} --topic sensors.temperature` +
          ` --from-beginning --max-messages ${all.length} --timeout-ms 20000`,
      );
    expect((await replay()).sort()).toEqual([...all].sort());
    await gateway.restart();
    expect((await replay()).sort()).toEqual([...all].sort());
    const again = await run(`kcat -C -b ${server()} -t sensors.temperature -o beginning -e -q -f '%s\\n'`);
    expect(again.sort()).toEqual([...all].sort());
  });

  it('kcat may be the first to name a topic, although its library asks for no creation', async () => {
    const kcat = start(`kcat -C -b ${server()} -t sensors.first -o beginning -u -q -f '%s\\n'`);
    for (let sent = 0; kcat.lines.length === 0 && sent < 60; sent++) {
      await publish(`-t sensors/first -m ${sent} -q 1`);
      await pause(300);
    }
    expect(kcat.lines.length).toBeGreaterThan(0);
    await kcat.stop();
  });

  it('MQTT 5 properties arrive as headers, and the record has the time of publishing', async () => {
    await run(`kcat -L -b ${server()} -t sensors.properties`);
    const before = Date.now();
    await publish(
      "-V 5 -t sensors/properties -m '{}' -q 1 -D publish content-type application/json -D publish user-property unit celsius",
    );
    const [line] = await run(
      `kcat -C -b ${server()} -t sensors.properties -o beginning -e -q -c 1 -f '%T|%h|%s\\n'`,
    );
    const [time, headers, body] = line!.split('|');
    expect(body).toBe('{}');
    expect(headers?.split(',')).toEqual(
      expect.arrayContaining(['content-type=application/json', 'unit=celsius']),
    );
    expect(Number(time)).toBeGreaterThanOrEqual(before - 1000);
    expect(Number(time)).toBeLessThanOrEqual(Date.now() + 1000);
  });
});
