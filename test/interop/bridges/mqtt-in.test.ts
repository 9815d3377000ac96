/** The MQTT driver's way in, against real Mosquitto brokers. */
import { setTimeout as pause } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createMqttBridgeDriver } from '../../../adapters/bridge-mqtt/index.ts';
import { describeWith, numbersFrom, publishLines, run, waitFor } from '../programs.ts';
import { type Mosquitto, startMosquitto } from './mosquitto.ts';
import {
  isSent,
  KeepingSink,
  type LinkChanges,
  numbered,
  openLink,
  textOf,
  WaitingSink,
} from './mqtt-links.ts';

const publish = (broker: Mosquitto, options: string): Promise<string[]> =>
  run(`mosquitto_pub -h 127.0.0.1 -p ${broker.port} ${options}`);

async function fill(broker: Mosquitto, from: number, count: number): Promise<void> {
  const link = await openLink('out', broker.url, { name: 'filling' });
  expect(isSent(await link.send(numbered('a', from, count)))).toBe(true);
  await link.close();
}

const texts = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, at) => String(from + at));

const VERSIONS = ['5', '3.1.1'] as const;
const ofVersion = (version: string, changes: LinkChanges = {}): LinkChanges => ({
  ...changes,
  connection: { version },
});

describeWith(['mosquitto', 'mosquitto-clients'], 'a bridge that receives from Mosquitto', () => {
  it('keeps properties in their order, also those that repeat and are empty', async () => {
    const broker = await startMosquitto();
    const link = await openLink('in', broker.url, { options: { qos: 2 } });
    const sink = new KeepingSink();
    await link.receive(['site/#'], sink);
    const properties = ['b 1', '7 ""', 'a 2', 'b 3', 'priority 4', 'x-gw-user-id root']
      .map((pair) => `-D publish user-property ${pair}`)
      .join(' ');
    await publish(
      broker,
      `-V mqttv5 -q 2 -r -t site/a%2Bb -m body -D publish content-type text/plain -D publish message-expiry-interval 60 ` +
        `-D publish response-topic answers -D publish correlation-data call-7 ${properties}`,
    );
    const [message] = await waitFor('the message', () => sink.messages.length > 0 && sink.messages);
    expect(message).toMatchObject({ address: 'site/a+b', reliability: 2, retain: true, priority: 4 });
    expect(Math.abs((message?.expiresAtMs ?? 0) - Date.now() - 60_000)).toBeLessThan(10_000);
    expect(message?.properties).toMatchObject({
      contentType: 'text/plain',
      replyTo: 'answers',
      correlation: { kind: 'string', value: 'call-7' },
    });
    const headers = message?.properties.headers.map(({ name, value }) => [
      name,
      'value' in value && value.value,
    ]);
    expect(headers).toEqual([
      ['b', '1'],
      ['7', ''],
      ['a', '2'],
      ['b', '3'],
    ]);
  });

  it('of 3.1.1 is a bridge to the broker: retain flags stay', async () => {
    const broker = await startMosquitto();
    for (const [bridgeMode, retain] of [
      [true, true],
      [false, false],
    ]) {
      const link = await openLink('in', broker.url, {
        name: `bridge-${bridgeMode}`,
        connection: { version: '3.1.1', bridgeMode },
      });
      const sink = new KeepingSink();
      await link.receive(['#'], sink);
      await publish(broker, `-q 1 -r -t a -m x`);
      await publish(broker, `-q 1 -r -t a -n`);
      const [message] = await waitFor('the messages', () => sink.messages.length > 1 && sink.messages);
      expect(message).toMatchObject({ address: 'a', reliability: 1, retain });
      await link.close();
    }
  });

  it('acknowledges one after the other when it is stored', async () => {
    // One at a time until it is acknowledged; version 5 has its receive maximum instead.
    const broker = await startMosquitto(['allow_anonymous true', 'max_inflight_messages 1']);
    const link = await openLink('in', broker.url, ofVersion('3.1.1'));
    const sink = new WaitingSink();
    await link.receive(['#'], sink);
    await fill(broker, 0, 4);
    await waitFor('the first', () => sink.messages.length > 0);
    await pause(200);
    expect(sink.messages.map(textOf)).toEqual(['0']);
    for (let stored = 1; stored <= 3; stored++) {
      sink.store();
      await waitFor('the next', () => sink.messages.length > stored);
    }
    expect(sink.messages.map(textOf)).toEqual(['0', '1', '2', '3']);
  });

  it.each(VERSIONS)('acknowledges nothing that is not stored (%s)', async (version) => {
    const broker = await startMosquitto();
    const link = await openLink('in', broker.url, ofVersion(version));
    const slow = new WaitingSink();
    await link.receive(['#'], slow);
    await fill(broker, 0, 4);
    await waitFor('the first four', () => slow.messages.length === 4);
    slow.store();
    await fill(broker, 4, 4);
    await waitFor('eight', () => slow.messages.length === 8);
    // The same client once more: the broker ends the first one, and sends what that did not acknowledge.
    const other = await openLink('in', broker.url, ofVersion(version));
    const sink = new KeepingSink();
    await other.receive(['#'], sink);
    await waitFor('what was not acknowledged', () => sink.texts.length >= 4);
    await fill(broker, 8, 1);
    await waitFor('the last', () => sink.texts.includes('8'));
    expect(sink.texts).toEqual(texts(4, 5));
    await waitFor('the loss', () => link.error);
  });

  it.each(VERSIONS)(
    'has no more in the sink than it may, and stays connected meanwhile (%s)',
    async (version) => {
      const broker = await startMosquitto([
        'allow_anonymous true',
        'max_inflight_messages 0',
        'max_queued_messages 0',
      ]);
      const link = await openLink('in', broker.url, {
        inFlightMax: 10,
        connection: { version, keepAliveSeconds: 1 },
      });
      const sink = new WaitingSink();
      await link.receive(['#'], sink);
      await fill(broker, 0, 5000);
      await waitFor('the first ten', () => sink.messages.length >= 10);
      await pause(2500);
      expect(sink.messages).toHaveLength(10);
      while (sink.messages.length < 5000) {
        sink.store();
        await new Promise(setImmediate);
        expect(link.error).toBeNull();
      }
      expect(sink.messages.map(textOf)).toEqual(texts(0, 5000));
    },
  );

  it.each(VERSIONS)('receives again, in order, what could not be stored (%s)', async (version) => {
    const broker = await startMosquitto();
    const refusing = new KeepingSink((message) => (textOf(message) === '5' ? 'refused' : 'stored'));
    const link = await openLink('in', broker.url, ofVersion(version));
    await link.receive(['a'], refusing);
    await fill(broker, 0, 10);
    await waitFor('the loss', () => link.error);
    expect(link.error?.message).toContain('could not be stored');
    const again = await openLink('in', broker.url, ofVersion(version));
    const sink = new KeepingSink();
    await again.receive(['a'], sink);
    await waitFor('the last', () => sink.texts.at(-1) === '9');
    expect(sink.texts).toEqual(texts(5, 5));
  });

  it('receives QoS 2 once, also where the broker did not hear that it is stored', async () => {
    const broker = await startMosquitto();
    const driver = createMqttBridgeDriver();
    const changes = { driver, options: { qos: 2 } };
    const link = await openLink('in', broker.url, changes);
    const sink = new KeepingSink();
    await link.receive(['#'], sink);
    broker.halt();
    broker.proceed();
    await publishLines(`-h 127.0.0.1 -p ${broker.port} -q 2 -t a`, numbersFrom(1, 200));
    await waitFor('some', () => sink.messages.length > 20);
    // Not an orderly end: the broker has to send again what was under way.
    const other = await openLink('in', broker.url, changes);
    await other.receive(['#'], sink);
    await waitFor('all', () => new Set(sink.texts).size === 200);
    await pause(200);
    expect(sink.texts).toHaveLength(200);
  });

  it.each(VERSIONS)('gets what came while it was away, unless it keeps no session (%s)', async (version) => {
    const broker = await startMosquitto();
    for (const sessionExpirySeconds of [3600, 0]) {
      const changes = ofVersion(version, {
        name: `kept-${sessionExpirySeconds}`,
        options: { sessionExpirySeconds },
      });
      const link = await openLink('in', broker.url, changes);
      await link.receive(['a'], new KeepingSink());
      await link.close();
      await fill(broker, 0, 100);
      const sink = new KeepingSink();
      const again = await openLink('in', broker.url, changes);
      // The broker sends at once; until it is asked for, nothing of it is taken.
      await pause(100);
      await again.receive(['a'], sink);
      await fill(broker, 100, 1);
      await waitFor('the last', () => sink.texts.at(-1) === '100');
      expect(sink.texts).toEqual(sessionExpirySeconds === 0 ? ['100'] : texts(0, 101));
    }
  });

  it('leaves no session behind where it was only tried', async () => {
    const broker = await startMosquitto();
    const trial = await openLink('in', broker.url, { name: 'trial' });
    await trial.close();
    const publisher = await openLink('out', broker.url);
    await publisher.close();
    const again = await openLink('in', broker.url, { name: 'trial' });
    const sink = new KeepingSink();
    await again.receive(['a'], sink);
    await again.close();
    await fill(broker, 0, 1);
    // A trial of a bridge that has a session takes nothing from it.
    const tried = await openLink('in', broker.url, { name: 'trial' });
    await tried.close();
    const last = await openLink('in', broker.url, { name: 'trial' });
    await last.receive(['a'], sink);
    await waitFor('what was kept', () => sink.texts.length === 1);
  });

  it('no longer receives what it is not asked to', async () => {
    const broker = await startMosquitto();
    const driver = createMqttBridgeDriver();
    const link = await openLink('in', broker.url, { driver });
    await link.receive(['a', 'b'], new KeepingSink());
    await link.close();
    const again = await openLink('in', broker.url, { driver });
    const sink = new KeepingSink();
    await again.receive(['b'], sink);
    await publish(broker, '-q 1 -t a -m a');
    await publish(broker, '-q 1 -t b -m b');
    await waitFor('the message', () => sink.texts.includes('b'));
    expect(sink.texts).toEqual(['b']);
  });

  it('gets a message once where its sources overlap', async () => {
    const broker = await startMosquitto(['allow_anonymous true', 'allow_duplicate_messages true']);
    const link = await openLink('in', broker.url);
    const sink = new KeepingSink();
    await link.receive(['a/#', 'a/b', 'a/+', 'a/b'], sink);
    await publish(broker, '-q 1 -t a/b -m 1');
    await publish(broker, '-q 1 -t a -m 2');
    await waitFor('the last', () => sink.texts.includes('2'));
    expect(sink.texts).toEqual(['1', '2']);
  });

  it('shares the messages of a shared subscription with another bridge', async () => {
    const broker = await startMosquitto();
    const sinks = [new KeepingSink(), new KeepingSink()];
    for (const [at, sink] of sinks.entries()) {
      const link = await openLink('in', broker.url, { name: `member-${at}` });
      await link.receive(['$share/gateways/a'], sink);
    }
    await fill(broker, 0, 100);
    await waitFor('all', () => sinks[0]!.texts.length + sinks[1]!.texts.length >= 100);
    expect(sinks.every(({ texts }) => texts.length > 0)).toBe(true);
    const all = sinks.flatMap((sink) => sink.texts).map(Number);
    expect(all.sort((a, b) => a - b)).toEqual(texts(0, 100).map(Number));
  });

  it('is sent what the broker has retained once, each time or never', async () => {
    const broker = await startMosquitto();
    await publish(broker, '-q 1 -r -t a -m kept');
    for (const [retainHandling, times] of [
      ['new', 1],
      ['always', 2],
      ['never', 0],
    ] as const) {
      const sink = new KeepingSink();
      for (let round = 0; round < 2; round++) {
        const link = await openLink('in', broker.url, { name: retainHandling, options: { retainHandling } });
        await link.receive(['#'], sink);
        await publish(broker, `-q 1 -t b -m ${round}`);
        await waitFor('the round', () => sink.texts.includes(String(round)));
        await link.close();
      }
      expect(sink.texts.filter((text) => text === 'kept')).toHaveLength(times);
    }
  });
});
