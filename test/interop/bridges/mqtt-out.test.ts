/** The MQTT driver's way out, against real Mosquitto brokers. */
import { expect, it } from 'vitest';
import { createMqttBridgeDriver } from '../../../adapters/bridge-mqtt/index.ts';
import type { Reliability } from '../../../src/core/index.ts';
import type { SendAnswer } from '../../../src/outside.ts';
import { describeWith, messagesOf, subscribe, waitFor } from '../programs.ts';
import { type Mosquitto, startMosquitto } from './mosquitto.ts';
import { batchOf, isSent, KeepingSink, type LinkChanges, numbered, openLink } from './mqtt-links.ts';

const text = (value: string) => ({ kind: 'string', value }) as const;

describeWith(['mosquitto', 'mosquitto-clients'], 'a bridge that publishes to Mosquitto', () => {
  it('keeps properties, their order, quality of service and retain flag', async () => {
    const broker = await startMosquitto();
    const program = await subscribe(
      broker.port,
      `-V mqttv5 -q 2 -t 'site/#' --retain-as-published -F '%t %q %r %p [%C] [%R] [%D] [%P]'`,
    );
    const link = await openLink('out', broker.url);
    const answers = await link.send(
      batchOf(
        ([0, 1, 2] as Reliability[]).map((reliability) => ({
          address: `site/line+1/${reliability}`,
          body: Buffer.from(`body ${reliability}`),
          reliability,
          retain: reliability === 1,
          properties: {
            contentType: 'text/plain',
            replyTo: 'site/answers',
            correlation: text('call 7'),
            headers: [
              { name: 'b', value: text('1') },
              { name: '7', value: text('') },
              { name: 'a', value: text('2') },
              { name: 'b', value: text('3') },
            ],
          },
        })),
      ),
    );
    expect(answers).toEqual([null, null, null]);
    const properties = '[text/plain] [site/answers] [call 7] [b:1 7: a:2 b:3]';
    await waitFor('the messages', () => messagesOf(program).length >= 3);
    expect(messagesOf(program).sort()).toEqual([
      `site/line%2B1/0 0 0 body 0 ${properties}`,
      `site/line%2B1/1 1 1 body 1 ${properties}`,
      `site/line%2B1/2 2 0 body 2 ${properties}`,
    ]);
  });

  it('tells what is left of a lifetime, and publishes with less where it is asked to', async () => {
    const broker = await startMosquitto();
    const program = await subscribe(broker.port, `-V mqttv5 -q 2 -t '#' --retain-as-published -F '%q %r %E'`);
    const link = await openLink('out', broker.url, { options: { qos: 1, retain: 'off' } });
    const message = {
      address: 'a',
      body: Buffer.from('x'),
      reliability: 2,
      retain: true,
      expiresAtMs: Date.now() + 60_000,
    } as const;
    expect(await link.send(batchOf([message]))).toEqual([null]);
    const forgetful = await openLink('out', broker.url, { name: 'other', delivery: 'at-most-once' });
    expect(await forgetful.send(batchOf([{ ...message, retain: false }]))).toEqual([null]);
    await waitFor('the messages', () => messagesOf(program).length >= 2);
    expect(messagesOf(program).map((line) => line.replace(/5\d$/, '60'))).toEqual(['1 0 60', '0 0 60']);
  });

  it('names topics by number where it may', async () => {
    const broker = await startMosquitto();
    const sink = new KeepingSink();
    const inward = await openLink('in', broker.url, { name: 'in' });
    await inward.receive(['#'], sink);
    const link = await openLink('out', broker.url, { options: { topicAliases: 2 } });
    const addresses = Array.from({ length: 400 }, (_, at) => `rather/long/name/of/topic/${at % 3}`);
    const batch = batchOf(addresses.map((address) => ({ address, body: Buffer.from('x'), reliability: 1 })));
    expect(isSent(await link.send(batch))).toBe(true);
    await waitFor('the messages', () => sink.messages.length >= 400);
    expect(sink.messages.map(({ address }) => address)).toEqual(addresses);
  });

  it('speaks 3.1.1', async () => {
    const broker = await startMosquitto();
    const program = await subscribe(broker.port, `-V mqttv5 -q 2 -t '#' -F '%t %q %p'`);
    const link = await openLink('out', broker.url, { connection: { version: '3.1.1' } });
    const batch = batchOf([
      {
        address: 'a/b',
        body: Buffer.from('x'),
        reliability: 1,
        properties: { headers: [{ name: 'n', value: text('v') }] },
      },
      { address: 'a/\u0007', body: Buffer.from('x'), reliability: 1 },
      { address: 'a/c', body: Buffer.from('y'), reliability: 2 },
    ]);
    expect(await link.send(batch)).toEqual([
      null,
      { reason: 'the topic holds a control character', permanent: true },
      null,
    ]);
    await waitFor('the messages', () => messagesOf(program).length >= 2);
    expect(messagesOf(program)).toEqual(['a/b 1 x', 'a/c 2 y']);
  });

  it('sends a thousand at once as far as the receive maximum allows, in order', async () => {
    for (const maximum of [3, 2000]) {
      const broker = await startMosquitto([
        'allow_anonymous true',
        `max_inflight_messages ${maximum}`,
        'max_queued_messages 0',
      ]);
      const sink = new KeepingSink();
      const inward = await openLink('in', broker.url, { name: 'in', inFlightMax: 1000 });
      await inward.receive(['#'], sink);
      const link = await openLink('out', broker.url);
      expect(isSent(await link.send(numbered('a', 0, 1000)))).toBe(true);
      await waitFor('the messages', () => sink.messages.length >= 1000);
      expect(sink.texts).toEqual(Array.from({ length: 1000 }, (_, at) => String(at)));
    }
  });

  it('does not send what is larger than the broker takes, and what is behind it', async () => {
    const broker = await startMosquitto(['allow_anonymous true', 'max_packet_size 1000']);
    const link = await openLink('out', broker.url);
    const [first, second, third] = await link.send(
      batchOf([
        { address: 'a', body: Buffer.alloc(900), reliability: 1 },
        { address: 'a', body: Buffer.alloc(1000), reliability: 1 },
        { address: 'a', body: Buffer.alloc(1), reliability: 1 },
      ]),
    );
    expect(first).toBeNull();
    expect(second).toMatchObject({
      permanent: true,
      reason: expect.stringContaining('takes packets of 1000'),
    });
    expect(third).toBeNull();
    expect(link.error).toBeNull();
  });

  it('finds the message for which the broker ends the connection, and sends all others', async () => {
    const guilty = [
      { address: 'a/\u0007', body: Buffer.from('6'), reliability: 1 },
      {
        address: 'a',
        body: Buffer.from('6'),
        reliability: 0,
        properties: { headers: [{ name: 'trace', value: text('two\nlines') }] },
      },
    ] as const;
    for (const [fields, tries] of [
      [guilty[0], 4],
      [guilty[1], 6],
    ] as const) {
      const broker = await startMosquitto();
      const sink = new KeepingSink();
      const inward = await openLink('in', broker.url, { name: 'in' });
      await inward.receive(['#'], sink);
      const driver = createMqttBridgeDriver();
      let batch = numbered('a', 0, 10);
      batch.splice(6, 1, ...batchOf([fields], 6));
      const refused: number[] = [];
      for (let at = 0; at < tries; at++) {
        const link = await openLink('out', broker.url, { driver });
        const answers: readonly SendAnswer[] | null = await link.send(batch).catch(() => null);
        if (answers === null) continue;
        refused.push(...batch.filter((_, each) => answers[each]?.permanent).map(({ offset }) => offset));
        batch = batch.filter((_, each) => answers[each]?.permanent === false);
      }
      expect(batch).toEqual([]);
      expect(refused).toEqual([6]);
      await waitFor('the last', () => sink.texts.at(-1) === '9');
      expect(new Set(sink.texts)).toEqual(new Set([...'012345789']));
      // What it has learned, it does not try again.
      const link = await openLink('out', broker.url, { driver });
      expect(await link.send(batchOf([fields], 20))).toMatchObject([{ permanent: true }]);
      expect(link.error).toBeNull();
    }
  });

  it('says which messages a broker refuses by its rights', async () => {
    const broker = await startMosquitto(['allow_anonymous true', 'acl_file FOLDER/acl'], {
      acl: 'topic write allowed\n',
    });
    const link = await openLink('out', broker.url);
    const answers = await link.send(
      batchOf([
        { address: 'forbidden', body: Buffer.from('x'), reliability: 1 },
        { address: 'forbidden', body: Buffer.from('x'), reliability: 2 },
        { address: 'allowed', body: Buffer.from('x'), reliability: 1 },
      ]),
    );
    const refused = { permanent: true, reason: 'the broker refuses it: not authorized' };
    expect(answers).toEqual([refused, refused, null]);
  });

  it('gives up a broker that stands still, and says that what was sent is unclear', async () => {
    const broker = await startMosquitto();
    const link = await openLink('out', broker.url, { options: { answerTimeoutMs: 1000 } });
    broker.halt();
    await expect(link.send(numbered('a', 0, 5))).rejects.toMatchObject({ failure: 'timeout' });
    await waitFor('the loss', () => link.error !== null);
    expect(link.error).toMatchObject({ failure: 'timeout' });
  });

  it.each([
    // Mosquitto saves its sessions when it is told to end, and loses what it had acknowledged when it is killed.
    { signal: 'SIGTERM', loses: 'nothing' },
    { signal: 'SIGKILL', loses: 'nothing that was not acknowledged' },
  ] as const)(
    'of 50,000 messages loses $loses when the broker gets $signal in the middle',
    async ({ signal }) => {
      const broker = await startMosquitto([
        'allow_anonymous true',
        'max_queued_messages 0',
        'max_inflight_messages 500',
        'persistence true',
        'persistence_location FOLDER/',
      ]);
      const reader = { name: 'reader', inFlightMax: 1000 };
      await (await subscribed(broker, reader, new KeepingSink())).close();
      const total = 50_000;
      let sent = 0;
      let acknowledged = 0;
      let lost = 0;
      let link = await openLink('out', broker.url);
      const restarted = (async () => {
        await waitFor('the middle', () => sent >= 15_000);
        await broker.end(signal);
        acknowledged = sent;
        await broker.start();
      })();
      while (sent < total) {
        try {
          expect(isSent(await link.send(numbered('a', sent, 1000)))).toBe(true);
          sent += 1000;
        } catch {
          lost++;
          link = await waitFor('the broker', () => openLink('out', broker.url).catch(() => null));
          // The kill took the session with it, as Mosquitto saves it every half an hour.
          if (signal === 'SIGKILL') await (await subscribed(broker, reader, new KeepingSink())).close();
        }
      }
      await restarted;
      expect(lost).toBeGreaterThan(0);
      const sink = new KeepingSink();
      await subscribed(broker, reader, sink);
      await waitFor('the last', () => sink.texts.at(-1) === String(total - 1), 60_000);
      const here = new Set(sink.texts.map(Number));
      const from = signal === 'SIGTERM' ? 0 : acknowledged;
      expect(from).toBeLessThan(total / 2);
      expect(numbersFrom(from, total).filter((number) => !here.has(number))).toEqual([]);
      // Each for the first time in order: what was unclear came again behind itself.
      const firsts = [...here];
      expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
    },
  );
});

const numbersFrom = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, at) => from + at);

async function subscribed(broker: Mosquitto, changes: LinkChanges, sink: KeepingSink) {
  const link = await openLink('in', broker.url, changes);
  await link.receive(['a'], sink);
  return link;
}
