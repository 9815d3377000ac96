/** Empty bodies between command line clients and pika, and headers with types where a client has only text. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Gateway, startGateway } from './gateway.ts';
import { describeWith, kafkaTool, messagesOf, python, run, start, subscribe, waitFor } from './programs.ts';

describeWith(['mosquitto-clients', 'python', 'kcat'], 'empty bodies', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.stop());

  it('are empty for the Mosquitto clients, pika and kcat, whoever sent them', async () => {
    const server = `127.0.0.1:${gateway.ports.kafka}`;
    await run(`kcat -L -b ${server} -t nothing.here`);
    const subscriber = await subscribe(gateway.ports.mqtt, "-q 1 -t 'nothing/here' -F '%t|%l|'");
    const queue = start(
      python('pika-consume.py', gateway.ports.amqp, 'amq.topic', 'nothing', 'nothing.here', 3),
    );
    await queue.waitForLine('ready');
    await run(`mosquitto_pub -h 127.0.0.1 -p ${gateway.ports.mqtt} -t nothing/here -n -q 1`);
    await run(python('pika-publish.py', gateway.ports.amqp, 'amq.topic', 'nothing.here', ''));
    await run(`kcat -P -b ${server} -t nothing.here -k k -Z -K :`, 'k:\n');

    await waitFor('three messages at MQTT', () => messagesOf(subscriber).length >= 3);
    expect(messagesOf(subscriber)).toEqual(Array(3).fill('nothing/here|0|'));
    const rows = (await queue.waitForLines(4)).slice(1).map((line) => JSON.parse(line));
    expect(rows.map(({ body }) => body)).toEqual(['', '', '']);
    // kcat -Z sends no value at all; %S is its length, -1 where there is none.
    expect(rows.map(({ headers }) => headers['x-gw-null'] ?? false)).toEqual([false, false, true]);
    expect(await run(`kcat -C -b ${server} -t nothing.here -o beginning -e -q -f '%S\\n'`)).toEqual([
      '0',
      '0',
      '-1',
    ]);
  });
});

const PROPERTIES = JSON.stringify({ headers: { count: 42, ok: true } });

describeWith(['python', 'kcat'], 'typed headers of pika', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.stop());

  it('are text for kcat, and have their types again when it passes them on', async () => {
    const server = `127.0.0.1:${gateway.ports.kafka}`;
    await run(`kcat -L -b ${server} -t typed.out`);
    await run(python('pika-publish.py', gateway.ports.amqp, 'typed', 'out', 'x', PROPERTIES));
    const [line] = await run(`kcat -C -b ${server} -t typed.out -o beginning -e -q -f '%h\\n'`);
    expect(line?.split(',')).toEqual(expect.arrayContaining(['count=42', 'ok=true']));
    const types = /x-gw-types=(.*)$/.exec(line ?? '')?.[1] ?? '';
    expect(types).toMatch(/^count=[iu]\d+,ok=bool$/);
    const queue = start(python('pika-consume.py', gateway.ports.amqp, 'typed', 'typed-back', 'back', 1));
    await queue.waitForLine('ready');
    await run(`kcat -P -b ${server} -t typed.back -H count=42 -H ok=true -H 'x-gw-types=${types}'`, 'x\n');
    const [, row] = await queue.waitForLines(2);
    expect(JSON.parse(row ?? '').headers).toMatchObject({ count: 42, ok: true });
  });
});

describeWith(['python', 'kafka'], 'typed headers of pika for Kafka’s own tools', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.stop());

  it('are digits for the console consumer', async () => {
    const consumer = start(
      `${kafkaTool('consumer.ConsoleConsumer')} --bootstrap-server 127.0.0.1:${gateway.ports.kafka} --topic typed.console --formatter-property print.headers=true --max-messages 1`,
    );
    // The topic begins with the first client that names it: what was published before is not in it.
    do await run(python('pika-publish.py', gateway.ports.amqp, 'typed', 'console', 'x', PROPERTIES));
    while (consumer.lines.length === 0);
    expect(consumer.lines[0]).toMatch(/count:42,ok:true.*\tx$/);
  });
});
