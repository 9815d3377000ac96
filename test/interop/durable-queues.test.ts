/**
 * Durable queues with the Mosquitto clients, by the commands that FluxMQ's documentation gives (only the port is ours):
 * consumer groups, filters, settlement from another connection, acknowledgement by the packet, dead letters.
 */
import { connect } from 'amqplib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Pattern } from '../../src/core/index.ts';
import { messageTo } from '../support/core.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { describeWith, messagesOf, type Program, pause, run, start, waitFor } from './programs.ts';

describeWith(['mosquitto-clients'], 'durable queues with the Mosquitto clients', () => {
  let gateway: TestGateway;
  beforeEach(async () => {
    gateway = await startTestGateway();
  });
  afterEach(() => gateway.stop());

  /** Their port for MQTT 5 is 1884 and for 3.1.1 is 1883; ours is one. Comments and line ends stay as they are. */
  const onOurPort = (command: string): string =>
    command.replaceAll(/-p 188[34]/g, `-p ${gateway.ports.mqtt}`);
  const publish = (command: string): Promise<string[]> => run(onOurPort(command));
  const membersOf = (queue: string): number => gateway.core.queues.get(queue)?.consumerCount ?? 0;

  /** Starts subscribers one after the other, each when the one before is a member of its group. */
  async function work(queue: string, ...commands: string[]): Promise<Program[]> {
    const programs: Program[] = [];
    for (const command of commands) {
      const before = membersOf(queue);
      const program = start(`stdbuf -oL ${onOurPort(command)}`);
      await waitFor(`a member by \`${command}\``, () => membersOf(queue) > before);
      programs.push(program);
    }
    return programs;
  }

  const groupOf = (id: string, queue = 'orders') => {
    const group = [...(gateway.core.queues.get(queue)?.groups ?? [])].find((one) => one.id === id);
    if (group === undefined) throw new Error(`no group ${id}`);
    return group;
  };

  it('three workers of a group share what is published', async () => {
    const workers = await work(
      'orders',
      ...['worker-1', 'worker-2', 'worker-3'].map(
        (id) => `mosquitto_sub -V mqttv5 -p 1884 -i ${id} -t '$queue/orders/#' -q 1 \\
  -D subscribe user-property consumer-group workers`,
      ),
    );
    await publish(`mosquitto_pub -V mqttv5 -p 1884 -t '$queue/orders' -m 'order-1'`);
    await publish(`mosquitto_pub -V mqttv5 -p 1884 -t '$queue/orders' -m 'order-2'`);
    await publish(`mosquitto_pub -V mqttv5 -p 1884 -t '$queue/orders' -m 'order-3'`);
    await waitFor('all of it', () => workers.every((worker) => worker.lines.length === 1));
    await pause(200);
    expect(workers.map((worker) => worker.lines)).toEqual([['order-1'], ['order-2'], ['order-3']]);
  });

  it('every group gets what is published', async () => {
    const groups = await work(
      'orders',
      ...['processors', 'audit', 'analytics'].map(
        (group) => `mosquitto_sub -V mqttv5 -p 1884 -t '$queue/orders/#' -q 1 \\
  -D subscribe user-property consumer-group ${group}`,
      ),
    );
    await publish(`mosquitto_pub -V mqttv5 -p 1884 -t '$queue/orders' -m 'order-1'`);
    for (const group of groups) expect(await group.waitForLines(1)).toEqual(['order-1']);
  });

  it('groups with filters get what matches', async () => {
    const [eu, us, images] = await work(
      'orders',
      `mosquitto_sub -V mqttv5 -p 1884 -t '$queue/orders/eu/#' -q 1 \\
  -D subscribe user-property consumer-group eu-processors`,
      `mosquitto_sub -V mqttv5 -p 1884 -t '$queue/orders/us/#' -q 1 \\
  -D subscribe user-property consumer-group us-processors`,
      `mosquitto_sub -V mqttv5 -p 1884 -t '$queue/orders/+/images/#' -q 1 \\
  -D subscribe user-property consumer-group image-processors`,
    );
    await publish(`mosquitto_pub -V mqttv5 -p 1884 -t '$queue/orders/eu/images/resize' -m 'photo.png'`);
    expect(await eu!.waitForLines(1)).toEqual(['photo.png']);
    expect(await images!.waitForLines(1)).toEqual(['photo.png']);
    await pause(100);
    expect(us!.lines).toEqual([]);
    expect([...gateway.core.queues.get('orders')!.groups].map((group) => group.id)).toEqual([
      'eu-processors@eu/#',
      'us-processors@us/#',
      'image-processors@+/images/#',
    ]);
  });

  it('what is published first waits for the first group, with and without acknowledgement of the publish', async () => {
    await publish(`mosquitto_pub -p 1883 -t "\\$queue/orders" -m "order-1" -q 1`);
    await publish(`mosquitto_pub -p 1883 -t '$queue/orders' -m '{"id": "order-1"}' -q 1`);
    await publish(`mosquitto_pub -p 1883 -t '$queue/orders/images/png' -m '{"file": "photo.png"}' -q 1`);
    await publish(`mosquitto_pub -V mqttv5 -p 1884 -t '$queue/orders' -m 'order-2'`);
    const [worker] = await work(
      'orders',
      `mosquitto_sub -V mqttv5 -p 1884 -t '$queue/orders/#' -q 1 -v \\
  -D subscribe user-property consumer-group workers`,
    );
    expect(await worker!.waitForLines(4)).toEqual([
      '$queue/orders order-1',
      '$queue/orders {"id": "order-1"}',
      '$queue/orders/images/png {"file": "photo.png"}',
      '$queue/orders order-2',
    ]);
  });

  it('ack, nack and reject from another connection do what they say', async () => {
    // The documented identifier is that of the forty-third message.
    const numbers = Array.from({ length: 45 }, (_, number) => `order-${number}`);
    const [one, two] = await work(
      'orders',
      ...['worker-1', 'worker-2'].map(
        (id) => `mosquitto_sub -V mqttv5 -h localhost -p 1884 -u usr -P pwd \\
  -i ${id} -q 1 -t '$queue/orders/#' -v \\
  -D subscribe user-property consumer-group workers`,
      ),
    );
    for (const number of numbers) {
      await gateway.core
        .openPublisher({
          principal: { user: '', groups: [], clientId: '' },
          providesQueues: true,
          congested: () => {},
        })
        .publish(messageTo('$queue/orders', number), null, 0);
    }
    const received = (): string[] => [...one!.lines, ...two!.lines].map((line) => line.split(' ')[1]!);
    await waitFor('all of it', () => received().length === 45);
    expect(new Set(received()).size).toBe(45);
    const workers = groupOf('workers');
    expect(workers.unsettledCount).toBe(45);

    // Nack: another worker gets it at once.
    const holder = one!.lines.includes('$queue/orders order-42') ? one! : two!;
    const other = holder === one ? two! : one!;
    await publish(`mosquitto_pub -V mqttv5 -h localhost -p 1884 -u usr -P pwd \\
  -t '$queue/orders/$nack' -m '' \\
  -D publish user-property message-id 'orders:42' \\
  -D publish user-property group-id 'workers'`);
    await other.waitForLine('$queue/orders order-42');
    expect(workers.unsettledCount).toBe(45);

    // Ack: it is gone.
    await publish(`mosquitto_pub -V mqttv5 -h localhost -p 1884 -u usr -P pwd \\
  -t '$queue/orders/$ack' -m '' \\
  -D publish user-property message-id 'orders:42' \\
  -D publish user-property group-id 'workers'`);
    await waitFor('the ack', () => workers.unsettledCount === 44);

    // Reject: it is kept as a dead letter, with its history.
    const reject = (id: string) => `mosquitto_pub -V mqttv5 -p 1884 -t '$queue/orders/$reject' -m '' \\
  -D publish user-property message-id "${id}" \\
  -D publish user-property group-id "workers" \\
  -D publish user-property reason "invalid payload"`;
    await publish(reject('orders:42'));
    await publish(reject('orders:43'));
    await waitFor('the reject', () => workers.unsettledCount === 43);
    const [undertaker] = await work(
      '$dlq/orders',
      `mosquitto_sub -V mqttv5 -p 1884 -t '$dlq/orders' -q 1 -F '%t %p %P'`,
    );
    const dead = await undertaker!.waitForLine(/^\$dlq\/orders order-43 /);
    expect(dead).toContain('invalid payload');
    expect(dead).toContain('rejected');
    expect(received().filter((number) => number === 'order-43').length).toBe(1);
    expect(received().length).toBe(46);
  });

  it('deliveries carry what settles them', async () => {
    const [worker] = await work(
      'orders',
      `mosquitto_sub -V mqttv5 -p 1884 -t '$queue/orders/eu/#' -q 1 -F '%t|%p|%P' -D subscribe user-property consumer-group workers`,
    );
    await publish(
      `mosquitto_pub -V mqttv5 -p 1884 -t '$queue/orders/eu/new' -m x -q 1 -D publish user-property unit kg -D publish user-property queue mine`,
    );
    expect((await worker!.waitForLines(1))[0]).toBe(
      '$queue/orders/eu/new|x|message-id:orders:0 group-id:workers@eu/# queue:orders offset:0 delivery-attempt:1 unit:kg x-source-queue:mine',
    );
    const settle = (how: string) =>
      publish(`mosquitto_pub -V mqttv5 -p 1884 -q 1 -t '$queue/orders/${how}' -m '' \\
  -D publish user-property message-id orders:0 -D publish user-property group-id workers`);
    await settle('$nack');
    expect((await worker!.waitForLines(2))[1]).toContain('delivery-attempt:2');
    await settle('$ack');
    await waitFor('the ack', () => groupOf('workers@eu/#').unsettledCount === 0);
  });

  it('MQTT 3.1.1: the acknowledgement of the packet settles, groups are named by the client identifier', async () => {
    const [plain] = await work('orders', `mosquitto_sub -p 1883 -t '$queue/orders/#' -q 1 -v`);
    const [images, regions] = await work(
      'orders',
      `mosquitto_sub -p 1883 -t '$queue/orders/images/#' -q 1 -v`,
      `mosquitto_sub -p 1883 -t '$queue/orders/+/images/#' -q 1 -v`,
    );
    const team = await work(
      'orders',
      `mosquitto_sub -p 1883 -t '$queue/orders/#' -q 1 -i team-1`,
      `mosquitto_sub -p 1883 -t '$queue/orders/#' -q 2 -i team-2`,
    );
    await publish(`mosquitto_pub -p 1883 -t '$queue/orders/images/png' -m '{"file": "photo.png"}' -q 1`);
    await publish(
      `mosquitto_pub -p 1883 -t '$queue/orders/eu/images/resize' -m '{"file": "photo.png"}' -q 1`,
    );
    await plain!.waitForLines(2);
    expect(await images!.waitForLines(1)).toEqual(['$queue/orders/images/png {"file": "photo.png"}']);
    expect(await regions!.waitForLines(1)).toEqual(['$queue/orders/eu/images/resize {"file": "photo.png"}']);
    await waitFor('both', () => team.every((member) => member.lines.length === 1));
    await waitFor('all to be settled', () =>
      [...gateway.core.queues.get('orders')!.groups].every(
        (group) => group.unsettledCount + group.readyCount === 0,
      ),
    );
    expect([...gateway.core.queues.get('orders')!.groups].map((group) => group.id)).toContain('team');
  });

  it('a subscription without QoS is refused where nothing could settle, and taken where something can', async () => {
    for (const options of ['', '-V mqttv5 ']) {
      const refused = start(
        `stdbuf -oL mosquitto_sub ${onOurPort(`${options}-p 1883 -t '$queue/orders/#' -d`)} 2>&1`,
      );
      await waitFor('the refusal', () =>
        refused.lines.some((line) => /Subscribed .*12[89]|131|denied|All subscription/i.test(line)),
      );
    }
    const [worker] = await work(
      'orders',
      `mosquitto_sub -d -V mqttv5 -h localhost -p 1884 -t '$queue/orders/#' \\
  -D subscribe user-property consumer-group workers`,
    );
    await publish(`mosquitto_pub -V mqttv5 -p 1884 -t '$queue/orders' -m 'order-1'`);
    await waitFor('the message', () => messagesOf(worker!).includes('order-1'));
    expect(groupOf('workers').unsettledCount).toBe(1);
    const answer = await run(
      onOurPort(`mosquitto_pub -d -V mqttv5 -p 1884 -q 1 -t '$queue/orders/$ack/42' -m '' 2>&1 || true`),
    );
    expect(answer.join('\n')).toMatch(/RC:144|Topic Name Invalid|Topic name invalid/i);
  });

  it('what a killed worker had goes to another', async () => {
    const worker = (id: string) =>
      `mosquitto_sub -V mqttv5 -p 1884 -i ${id} -t '$queue/orders/#' -q 1 -D subscribe user-property consumer-group workers`;
    const [one, two] = await work('orders', worker('worker-1'), worker('worker-2'));
    for (const text of ['a', 'b', 'c', 'd']) {
      await publish(`mosquitto_pub -V mqttv5 -p 1884 -t '$queue/orders' -m ${text} -q 1`);
    }
    await waitFor('all', () => one!.lines.length + two!.lines.length === 4);
    one!.kill('SIGKILL');
    await two!.waitForLines(4);
    expect([...two!.lines].sort()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('a stream is read from its beginning, by number, and from now on', async () => {
    await gateway.core.streams.declare({
      name: 'readings',
      partitions: 2,
      captures: [new Pattern(['readings'])],
      log: { segmentBytes: 1 << 20, retentionBytes: -1, retentionMs: -1 },
      settings: {},
    });
    for (const body of ['a', 'b', 'c']) {
      await publish(`mosquitto_pub -p 1883 -t readings -m ${body} -q 1`);
    }
    const read = (offset: string): Program =>
      start(
        onOurPort(
          `stdbuf -oL mosquitto_sub -V mqttv5 -p 1884 -t '$stream/readings/#' -q 1 -v -D subscribe user-property offset ${offset}`,
        ),
      );
    const earliest = read('earliest');
    expect(await earliest.waitForLines(3)).toEqual(['readings a', 'readings b', 'readings c']);
    const second = read('1');
    expect(await second.waitForLines(2)).toEqual(['readings b', 'readings c']);
    await publish(`mosquitto_pub -p 1883 -t readings -m d -q 1`);
    for (const reader of [earliest, second]) await reader.waitForLine('readings d');
  });

  it('workers of MQTT and AMQP share a group, and what both do not settle comes back', async () => {
    const [worker] = await work(
      'orders',
      `mosquitto_sub -V mqttv5 -p 1884 -t '$queue/orders/#' -q 1 -D subscribe user-property consumer-group workers`,
    );
    const connection = await connect(`amqp://127.0.0.1:${gateway.ports.amqp}`);
    const channel = await connection.createChannel();
    await channel.prefetch(10);
    const bodies: string[] = [];
    await channel.consume(
      '$queue/orders/#',
      (message) => {
        if (message === null) return;
        bodies.push(message.content.toString());
        channel.ack(message);
      },
      { arguments: { 'x-consumer-group': 'workers' } },
    );
    for (let i = 0; i < 10; i++)
      channel.publish('', '$queue/orders/eu', Buffer.from(String(i)), { persistent: true });
    await waitFor('all', () => bodies.length + worker!.lines.length === 10);
    expect([...bodies, ...worker!.lines].sort()).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    expect(bodies.length).toBe(5);
    await waitFor('the acks', () => groupOf('workers').unsettledCount === 5);
    worker!.kill('SIGKILL');
    await waitFor('the rest', () => bodies.length === 10);
    await connection.close();
  });
});
