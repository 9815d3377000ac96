/** Gateways that meet at a Mosquitto, or at each other, by bridges over MQTT: from a client of one to a client of the other. */
import { setTimeout as pause } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { describeWith, messagesOf, numbersFrom, publishLines, run, subscribe, waitFor } from '../programs.ts';
import { startMosquitto } from './mosquitto.ts';

async function startOne(): Promise<TestGateway> {
  const gateway = await startTestGateway();
  onTestFinished(() => gateway.stop());
  return gateway;
}

async function connect(
  { gateway }: TestGateway,
  url: string,
  bridges: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  connection: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const put = { dryRun: false };
  await gateway.bridges.connections.put('plant', { type: 'mqtt', urls: [url], ...connection }, put);
  for (const [name, definition] of Object.entries(bridges)) {
    const retry = { minMs: 50, maxMs: 200 };
    await gateway.bridges.put(name, { connection: 'plant', retry, ...definition }, put);
    await waitFor(`the bridge ${name}`, () => statusOf({ gateway }, name)?.state === 'connected');
  }
}

const statusOf = ({ gateway }: Pick<TestGateway, 'gateway'>, name: string) =>
  gateway.bridges.get(name)?.status;

const urlOf = ({ ports }: TestGateway): string => `mqtt://127.0.0.1:${ports.mqtt}`;

describeWith(['mosquitto', 'mosquitto-clients'], 'gateways with bridges over MQTT', () => {
  it('lead messages through Mosquitto, with their properties, while it is restarted', async () => {
    const broker = await startMosquitto([
      'allow_anonymous true',
      'max_queued_messages 0',
      'persistence true',
      'persistence_location FOLDER/',
    ]);
    const [here, there] = [await startOne(), await startOne()];
    await connect(there, broker.url, {
      arrivals: {
        direction: 'in',
        mappings: [{ pattern: 'sensors/#', remotePrefix: 'site1/', localPrefix: 'from-site1/' }],
      },
    });
    await connect(here, broker.url, {
      departures: { direction: 'out', mappings: [{ pattern: 'sensors/#', remotePrefix: 'site1/' }] },
    });
    const program = await subscribe(there.ports.mqtt, `-V mqttv5 -q 1 -t 'from-site1/#' -F '%t %p %P'`);
    const publish = (first: number, last: number): Promise<void> =>
      publishLines(
        `-V mqttv5 -h 127.0.0.1 -p ${here.ports.mqtt} -q 1 -t sensors/1 -D publish user-property unit kg`,
        numbersFrom(first, last),
      );
    await publish(0, 999);
    await broker.end('SIGTERM');
    await publish(1000, 1999);
    await waitFor('the loss to be told', () => statusOf(here, 'departures')?.state !== 'connected');
    expect(statusOf(here, 'departures')?.lag.messages).toBeGreaterThan(0);
    await broker.start();
    await publish(2000, 2999);
    await waitFor('the last', () => messagesOf(program).some((line) => line.includes(' 2999 ')));
    const bodies = messagesOf(program).map((line) => Number(line.split(' ')[1]));
    const firsts = [...new Set(bodies)];
    expect(firsts).toEqual(Array.from({ length: 3000 }, (_, at) => at));
    expect(messagesOf(program)[0]).toMatch(/^from-site1\/sensors\/1 0 unit:kg gw-path:[0-9a-f]{32}/);
    await waitFor('the buffer to be empty', () => statusOf(here, 'departures')?.lag.messages === 0);
  });

  it('that send each other everything over Mosquitto do so once', async () => {
    const broker = await startMosquitto();
    const gateways = [await startOne(), await startOne()];
    for (const gateway of gateways) {
      await connect(gateway, broker.url, {
        out: { direction: 'out', mappings: [{ pattern: 'shared/#' }] },
        in: { direction: 'in', mappings: [{ pattern: 'shared/#' }] },
      });
    }
    const programs = await Promise.all(
      [...gateways.map(({ ports }) => ports.mqtt), broker.port].map((port) =>
        subscribe(port, `-V mqttv5 -q 1 -t 'shared/#' -F '%p'`),
      ),
    );
    for (const [at, gateway] of gateways.entries()) {
      await publishLines(
        `-h 127.0.0.1 -p ${gateway.ports.mqtt} -q 1 -t shared/a`,
        numbersFrom(at * 1000, at * 1000 + 99),
      );
    }
    for (const program of programs) {
      await waitFor('all', () => messagesOf(program).length >= 200);
    }
    // Another one goes the same ways behind them: what would come round is here before it.
    await run(`mosquitto_pub -h 127.0.0.1 -p ${gateways[0]!.ports.mqtt} -q 1 -t shared/a -m last`);
    for (const program of programs) {
      await waitFor('the last', () => messagesOf(program).includes('last'));
      expect(messagesOf(program)).toHaveLength(201);
    }
    // What it sent comes back to the first, and what the second sent stays with it.
    await waitFor('the ends of the ways', () => statusOf(gateways[0]!, 'in')!.counters.dropped.loop === 101);
    expect(statusOf(gateways[0]!, 'out')!.counters.dropped.loop).toBe(100);
  });

  it('that are each other’s brokers do not send back what came from there', async () => {
    const [here, there] = [await startOne(), await startOne()];
    const bridges = {
      out: { direction: 'out', mappings: [{ pattern: 'shared/#' }] },
      in: { direction: 'in', mappings: [{ pattern: 'shared/#' }] },
    };
    await connect(here, urlOf(there), bridges);
    await connect(there, urlOf(here), bridges);
    const programs = await Promise.all(
      [here, there].map(({ ports }) => subscribe(ports.mqtt, `-V mqttv5 -q 1 -t 'shared/#' -F '%p'`)),
    );
    await publishLines(`-h 127.0.0.1 -p ${here.ports.mqtt} -q 1 -t shared/a`, numbersFrom(1, 100));
    await publishLines(`-h 127.0.0.1 -p ${there.ports.mqtt} -q 1 -t shared/a`, numbersFrom(101, 200));
    for (const program of programs) {
      await waitFor('all', () => new Set(messagesOf(program)).size >= 200);
    }
    await run(`mosquitto_pub -h 127.0.0.1 -p ${here.ports.mqtt} -q 1 -t shared/a -m last`);
    for (const program of programs) await waitFor('the last', () => messagesOf(program).includes('last'));
    // It is there twice, by the two ways that were asked for, one gateway's out and the other's in; and never back.
    await pause(500);
    const [first, second] = programs.map((program) => messagesOf(program).length);
    expect([first, second]).toEqual([101 + 200, 202 + 100]);
  });

  it('share what comes, each message going to one of them', async () => {
    const broker = await startMosquitto();
    const gateways = [await startOne(), await startOne()];
    const mapping = {
      pattern: 'commands/#',
      remotePrefix: 'site1/',
      source: '$share/gateways/site1/commands/#',
    };
    for (const gateway of gateways) {
      await connect(gateway, broker.url, { commands: { direction: 'in', mappings: [mapping] } });
    }
    const programs = await Promise.all(
      gateways.map(({ ports }) => subscribe(ports.mqtt, `-q 1 -t 'commands/#' -F '%t %p'`)),
    );
    await publishLines(`-h 127.0.0.1 -p ${broker.port} -q 1 -t site1/commands/go`, numbersFrom(1, 100));
    await waitFor('all', () => programs.flatMap(messagesOf).length >= 100);
    const all = new Set(programs.flatMap(messagesOf));
    expect([...all].toSorted()).toEqual(
      Array.from({ length: 100 }, (_, at) => `commands/go ${at + 1}`).sort(),
    );
    for (const program of programs) expect(messagesOf(program).length).toBeGreaterThan(0);
  });

  it('dead-letter what the broker cannot take, with the reason, and go on', async () => {
    const broker = await startMosquitto(['allow_anonymous true', 'max_packet_size 2000']);
    const here = await startOne();
    await connect(here, broker.url, { out: { direction: 'out', mappings: [{ pattern: 'a/#' }] } });
    const program = await subscribe(broker.port, `-V mqttv5 -q 1 -t 'a/#' -F '%p'`);
    const publish = (options: string) =>
      run(`mosquitto_pub -V mqttv5 -h 127.0.0.1 -p ${here.ports.mqtt} -q 1 -t a/b ${options}`);
    await publish(`-m "$(head -c 3000 /dev/zero | tr '\\0' x)"`);
    await publish('-m after');
    await waitFor('what is behind it', () => messagesOf(program).includes('after'));
    await waitFor('the dead letter', () => statusOf(here, 'out')?.counters.deadLettered === 1);
  });

  it('over 3.1.1 are refused where messages would go round', async () => {
    const broker = await startMosquitto();
    const here = await startOne();
    const old = { version: '3.1.1' };
    await connect(here, broker.url, { out: { direction: 'out', mappings: [{ pattern: 'shared/#' }] } }, old);
    const back = { connection: 'plant', direction: 'in', mappings: [{ pattern: 'shared/#' }] };
    await expect(here.gateway.bridges.put('in', back, { dryRun: false })).rejects.toMatchObject({
      code: 'invalid-argument',
      field: '/mappings/0',
    });
    await connect(here, broker.url, { in: { direction: 'in', mappings: [{ pattern: 'commands/#' }] } }, old);
    const program = await subscribe(here.ports.mqtt, `-q 1 -t 'commands/#' -F '%t %p'`);
    await run(`mosquitto_pub -h 127.0.0.1 -p ${broker.port} -q 1 -t commands/a -m go`);
    await waitFor('the command', () => messagesOf(program).includes('commands/a go'));
  });

  it('tell what is wrong when a connection is tried', async () => {
    const broker = await startMosquitto(['allow_anonymous false']);
    const { gateway } = await startOne();
    const trial = (definition: object) =>
      gateway.bridges.connections.put('trial', definition, { dryRun: true });
    expect((await trial({ type: 'mqtt', urls: [broker.url] })).probe).toMatchObject({
      ok: false,
      failure: 'authentication',
    });
    expect((await trial({ type: 'mqtt', urls: ['mqtt://127.0.0.1:1'] })).probe).toMatchObject({
      ok: false,
      failure: 'unreachable',
    });
    await expect(trial({ type: 'mqtt', urls: ['http://127.0.0.1:1'] })).rejects.toMatchObject({
      field: '/urls/0',
    });
    await expect(trial({ type: 'mqtt', urls: ['mqtt://ann:secret@127.0.0.1'] })).rejects.toMatchObject({
      field: '/urls/0',
    });
    await expect(trial({ type: 'mqtt' })).rejects.toMatchObject({ field: '/urls' });
  });
});
