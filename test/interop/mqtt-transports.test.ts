/**
 * MQTT clients of five languages over every transport that each has: TCP, TLS, TLS with a certificate of its own, a
 * WebSocket with and without TLS. Each sees every quality of service in order, a retained message, a will, and its
 * session again.
 */
import { readFileSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect, connectAsync, type IClientOptions, MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { locatePeer, type Peer } from '../peers/programs.ts';
import { describeWith, messagesOf, Program, publishLines, python, run, start, waitFor } from './programs.ts';
import { type SecuredGateway, startSecuredGateway } from './secured-gateway.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const STEPS = ['qos', 'retained', 'will', 'session', 'ok'];

interface Place {
  readonly scheme: string;
  readonly port: number;
  readonly path: string;
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
  readonly gateway: SecuredGateway;
}

let open: SecuredGateway;
let strict: SecuredGateway;
beforeAll(async () => {
  open = await startSecuredGateway('none');
  strict = await startSecuredGateway('require');
});
afterAll(async () => {
  await open?.stop();
  await strict?.stop();
});

const bare = { path: '', authority: '', certificate: '', key: '' };
const known = (gateway: SecuredGateway) => ({ ...bare, gateway, authority: gateway.files.authority });
const proven = (gateway: SecuredGateway) => ({
  ...known(gateway),
  certificate: gateway.files.certificate,
  key: gateway.files.key,
});

/** By what people call them; asked when the gateways run. */
const places: Readonly<Record<string, () => Place>> = {
  TCP: () => ({ ...bare, gateway: open, scheme: 'mqtt', port: open.ports.mqtt }),
  TLS: () => ({ ...known(open), scheme: 'mqtts', port: open.secured.mqtt }),
  'mutual TLS': () => ({ ...proven(strict), scheme: 'mqtts', port: strict.secured.mqtt }),
  WebSocket: () => ({ ...bare, gateway: open, scheme: 'ws', port: open.ports.webSocket, path: '/mqtt' }),
  'WebSocket over TLS': () => ({
    ...known(open),
    scheme: 'wss',
    port: open.secured.webSocket,
    path: '/mqtt',
  }),
  'WebSocket over mutual TLS': () => ({
    ...proven(strict),
    scheme: 'wss',
    port: strict.secured.webSocket,
    path: '/mqtt',
  }),
};

const urlOf = ({ scheme, port, path }: Place): string => `${scheme}://127.0.0.1:${port}${path}`;

/** Runs a client's program at every place, with the command line that `commandOf` makes. */
function itPasses(
  commandOf: (place: Place) => string,
  stepsAt: (place: Place) => string[] = () => STEPS,
): void {
  for (const [name, placeOf] of Object.entries(places)) {
    it(`over ${name}: every quality of service, retained, will and session`, async () => {
      const place = placeOf();
      expect(await run(commandOf(place), '', 60_000)).toEqual(stepsAt(place));
    });
  }
}

const quote = (...words: readonly string[]): string => words.map((word) => `'${word}'`).join(' ');

describeWith(['python'], 'paho (Python)', () => {
  for (const version of ['311', '5']) {
    describe(`version ${version}`, () => {
      itPasses((place) =>
        python('paho-transports.py', urlOf(place), place.authority, place.certificate, place.key, version),
      );
    });
  }
});

for (const peer of ['paho-go', 'autopaho'] satisfies Peer[]) {
  describeWith([peer], peer === 'paho-go' ? 'paho.mqtt.golang' : 'autopaho (Go)', () => {
    itPasses(
      (place) => quote(locatePeer(peer), urlOf(place), place.authority, place.certificate, place.key),
      // That library keeps its WebSocket to itself, so nothing can break it.
      ({ scheme }) =>
        peer === 'paho-go' && scheme.startsWith('ws') ? STEPS.filter((step) => step !== 'will') : STEPS,
    );
  });
}

describeWith(['hivemq', 'openssl'], 'the HiveMQ client (Java)', () => {
  // One virtual machine for all places: starting it takes longer than what it does at one.
  let lines: string[] = [];
  beforeAll(async () => {
    const options = Object.values(places).flatMap((placeOf) => {
      const { gateway, scheme, port, authority, certificate } = placeOf();
      const { files } = gateway;
      const stores = [authority && files.authorityStore(), certificate && files.certificateStore()];
      return [scheme, '127.0.0.1', String(port), ...stores.map((store) => store || '-')];
    });
    const program = join(HERE, 'java/HiveMqTransports.java');
    lines = await run(
      quote(locatePeer('java'), '-cp', locatePeer('hivemq'), program, ...options),
      '',
      100_000,
    );
  });
  for (const [index, name] of Object.keys(places).entries()) {
    it(`over ${name}: every quality of service, retained, will and session`, () => {
      const steps = lines.filter((line) => line.startsWith(`${index} `)).map((line) => line.slice(2));
      expect(steps).toEqual(STEPS);
    });
  }
});

describe('mqtt.js', () => {
  async function enter(place: Place, options: IClientOptions = {}): Promise<MqttClient> {
    const client = await connectAsync(urlOf(place), { ...optionsOf(place), ...options });
    onTestFinished(() => client.endAsync(true));
    return client;
  }
  const optionsOf = (place: Place): IClientOptions => ({
    reconnectPeriod: 0,
    protocolVersion: 5,
    ...(place.authority === '' ? {} : { ca: readFileSync(place.authority) }),
    ...(place.certificate === ''
      ? {}
      : { cert: readFileSync(place.certificate), key: readFileSync(place.key) }),
  });

  for (const [name, placeOf] of Object.entries(places)) {
    it(`over ${name}: every quality of service, retained, will and session`, async () => {
      const place = placeOf();
      const base = `mqttjs-transports/${name}`;
      const got: string[] = [];
      const subscriber = await enter(place);
      subscriber.on('message', (_topic, payload, { qos, retain }) => got.push(`${payload} ${qos} ${retain}`));
      await subscriber.subscribeAsync(`${base}/live`, { qos: 2 });
      const publisher = await enter(place);
      for (const qos of [0, 1, 2] as const) await publisher.publishAsync(`${base}/live`, 'x', { qos });
      await publisher.publishAsync(`${base}/kept`, 'kept', { qos: 1, retain: true });
      await subscriber.subscribeAsync(`${base}/kept`, { qos: 2 });
      await subscriber.subscribeAsync(`${base}/will`, { qos: 2 });
      await waitFor('live and retained messages', () => got.length >= 4);
      const will = { topic: `${base}/will`, payload: Buffer.from('gone'), qos: 2 as const, retain: false };
      const dying = await enter(place, { will });
      dying.stream.destroy();
      await waitFor('the will', () => got.length >= 5);
      expect(got).toEqual(['x 0 false', 'x 1 false', 'x 2 false', 'kept 1 true', 'gone 2 false']);

      const session: IClientOptions = {
        clientId: `mqttjs ${name}`,
        clean: false,
        properties: { sessionExpiryInterval: 600 },
      };
      const keeper = await enter(place, session);
      await keeper.subscribeAsync(`${base}/away`, { qos: 2 });
      await keeper.endAsync();
      for (let number = 0; number < 20; number++)
        await publisher.publishAsync(`${base}/away`, String(number), { qos: 2 });
      const kept: string[] = [];
      const again = connect(urlOf(place), { ...optionsOf(place), ...session });
      onTestFinished(() => again.endAsync(true));
      again.on('message', (_topic, payload) => kept.push(payload.toString()));
      await waitFor('kept messages', () => kept.length >= 20);
      expect(kept).toEqual(Array.from({ length: 20 }, (_, number) => String(number)));
    });
  }

  it('over a Unix domain socket', async () => {
    const client = new MqttClient(() => connectSocket(open.socketFile), { reconnectPeriod: 0 });
    onTestFinished(() => client.endAsync(true));
    const got: string[] = [];
    client.on('message', (_topic, payload) => got.push(payload.toString()));
    await client.subscribeAsync('socket-file', { qos: 1 });
    await client.publishAsync('socket-file', 'x', { qos: 1 });
    await waitFor('the message', () => got.length > 0);
  });
});

describeWith(['mosquitto-clients'], 'mosquitto_pub and mosquitto_sub', () => {
  const optionsOf = ({ port, authority, certificate, key }: Place): string =>
    [
      `-h 127.0.0.1 -p ${port}`,
      authority === '' ? '' : `--cafile ${authority}`,
      certificate === '' ? '' : `--cert ${certificate} --key ${key}`,
    ].join(' ');

  async function subscribe(options: string): Promise<Program> {
    const program = start(`stdbuf -oL mosquitto_sub -d ${options}`);
    await waitFor(
      'the subscription',
      () =>
        /Subscribed \(mid/.test(program.errors) ||
        program.lines.some((line) => line.startsWith('Subscribed (mid')),
    );
    return program;
  }

  for (const name of ['TCP', 'TLS', 'mutual TLS']) {
    for (const version of ['311', '5']) {
      it(`-V ${version} over ${name}: every quality of service, retained, will and session`, async () => {
        const options = `${optionsOf((places[name] as () => Place)())} -V ${version}`;
        const base = `mosquitto/${name.replace(' ', '-')}/${version}`;
        const numbers = Array.from({ length: 20 }, (_, index) => String(index));
        const subscriber = await subscribe(`${options} -t ${base}/live -t ${base}/will -q 2`);
        for (const qos of [0, 1, 2]) {
          await publishLines(`${options} -t ${base}/live -q ${qos}`, numbers);
        }
        await waitFor('the live messages', () => messagesOf(subscriber).length > 59);
        expect(messagesOf(subscriber)).toEqual([...numbers, ...numbers, ...numbers]);
        await run(`mosquitto_pub ${options} -t ${base}/kept -m kept -q 1 -r`);
        expect(await run(`mosquitto_sub ${options} -t ${base}/kept -C 1 -W 10 -F '%r %p'`)).toEqual([
          '1 kept',
        ]);
        const dying = await subscribe(
          `${options} -t ${base}/none --will-topic ${base}/will --will-payload gone --will-qos 2`,
        );
        dying.kill('SIGKILL');
        await subscriber.waitForLine('gone');

        const expiry = version === '5' ? '-x 600' : '';
        const session = `${options} -i keeper-${base.replaceAll('/', '-')} -c ${expiry} -t ${base}/away -q 2`;
        await run(`mosquitto_sub ${session} -E`);
        await publishLines(`${options} -t ${base}/away -q 2`, numbers);
        expect(await run(`mosquitto_sub ${session} -C 20 -W 10`)).toEqual(numbers);
      });
    }
  }

  it('-L over TLS, and the Unix domain socket', async () => {
    const { files, secured, socketFile } = open;
    const subscriber = await subscribe(`--unix ${socketFile} -t urls`);
    await run(
      `mosquitto_pub -L mqtts://127.0.0.1:${secured.mqtt}/urls --cafile ${files.authority} -m hello -q 1`,
    );
    await subscriber.waitForLine('hello');
  });

  it('a client without a certificate, or with a strange one, does not get in where one is required', async () => {
    const { files, secured } = strict;
    const command = `mosquitto_pub -h 127.0.0.1 -p ${secured.mqtt} --cafile ${files.authority} -t never -m x -q 1`;
    for (const proof of ['', `--cert ${files.strangerCertificate} --key ${files.strangerKey}`]) {
      const program = new Program(`timeout 10 ${command} ${proof}`, '');
      expect(await program.ended).not.toBe(0);
    }
    await waitFor('the reason in the log', () => strict.output.includes("client's certificate is refused"));
    expect(strict.output).toContain('the client has no certificate, and must have one');
  });
});
