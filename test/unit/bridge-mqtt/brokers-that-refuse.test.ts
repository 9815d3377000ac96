import type { IPublishPacket } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import type { SendAnswer } from '../../../src/outside.ts';
import { openLink, outside, startScriptedBroker } from './scripted-broker.ts';

const ACK = { cmd: 'puback' } as const;

describe('what a broker answers', () => {
  it('to CONNECT is why the link does not open', async () => {
    let code = 0;
    const url = await startScriptedBroker((packet, side) => {
      if (packet.cmd !== 'connect') return undefined;
      const properties =
        side.connect.protocolVersion === 5 ? { properties: { reasonString: 'too bad' } } : {};
      side.send({ cmd: 'connack', sessionPresent: false, returnCode: code, reasonCode: code, ...properties });
      return true;
    });
    for (const [version, refusal, failure] of [
      ['5', 134, 'authentication'],
      ['5', 135, 'authentication'],
      ['5', 136, 'unreachable'],
      ['5', 137, 'unreachable'],
      ['5', 133, 'protocol'],
      ['3.1.1', 4, 'authentication'],
      ['3.1.1', 5, 'authentication'],
      ['3.1.1', 3, 'unreachable'],
      ['3.1.1', 2, 'protocol'],
    ] as const) {
      code = refusal;
      const message = version === '5' ? expect.stringContaining('(too bad)') : expect.any(String);
      await expect(openLink('out', url, { connection: { version } })).rejects.toMatchObject({
        failure,
        message,
      });
    }
  });

  it('to SUBSCRIBE is why it receives nothing, by the filter that is refused', async () => {
    const url = await startScriptedBroker((packet, side) => {
      if (packet.cmd !== 'subscribe') return undefined;
      const granted = packet.subscriptions.map(({ topic }) => (topic === 'x/12' ? 135 : 1));
      side.send({ cmd: 'suback', messageId: packet.messageId ?? 0, granted });
      return true;
    });
    const { link } = await openLink('in', url);
    const sources = Array.from({ length: 20 }, (_, at) => `x/${at}`);
    await expect(link.receive(sources, { take: async () => [] })).rejects.toMatchObject({
      failure: 'not-authorized',
      message: 'the subscription of x/12: not authorized',
    });
  });

  it('to a message is permanent where the message or its place is at fault', async () => {
    const url = await startScriptedBroker((packet, side) => {
      if (packet.cmd !== 'publish') return undefined;
      const { messageId = 0, qos } = packet;
      const reasonCode = Number(packet.payload.toString());
      side.send({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId, reasonCode });
      return true;
    });
    const { link } = await openLink('out', url);
    const codes = [0, 16, 128, 131, 135, 144, 145, 151, 153];
    const batch = codes.flatMap((code) =>
      ([1, 2] as const).map((reliability) => outside(code, { body: Buffer.from(String(code)), reliability })),
    );
    const refused = batch.filter(({ offset, message }) => offset >= 128 || message.reliability === 1);
    const answers = await link.send(refused);
    const permanent = new Map(refused.map(({ offset }, at) => [offset, answers[at]?.permanent ?? null]));
    expect([...permanent]).toEqual([
      [0, null],
      [16, null],
      [128, false],
      [131, false],
      [135, true],
      [144, true],
      [145, false],
      [151, false],
      [153, true],
    ]);
  });

  it('with DISCONNECT is why the link is lost', async () => {
    let reasonCode = 0;
    const url = await startScriptedBroker((packet, side) => {
      if (packet.cmd !== 'publish') return undefined;
      side.send({ cmd: 'disconnect', reasonCode });
      side.end();
      return true;
    });
    for (const [code, failure, text] of [
      [139, 'closed', 'server shutting down'],
      [142, 'closed', 'another client uses the same client identifier'],
      [149, 'protocol', 'packet too large'],
    ] as const) {
      reasonCode = code;
      const { link, lost } = await openLink('out', url);
      await expect(link.send([outside(1)])).rejects.toThrow(text);
      expect(await lost).toMatchObject({ failure });
      await expect(link.send([outside(1)])).rejects.toThrow(text);
    }
  });

  it('is no MQTT: the link is lost, and nothing else', async () => {
    const url = await startScriptedBroker((packet, side) => {
      if (packet.cmd !== 'publish') return undefined;
      side.send({
        cmd: 'publish',
        topic: 'a',
        payload: 'x',
        qos: 0,
        dup: false,
        retain: false,
      } as IPublishPacket);
      side.send({ cmd: 'suback', messageId: 1, granted: [0] });
      side.send({ cmd: 'connack', sessionPresent: false, reasonCode: 0 });
      return true;
    });
    const { link, lost } = await openLink('out', url);
    await expect(link.send([outside(1)])).rejects.toMatchObject({ failure: 'protocol' });
    expect(await lost).toMatchObject({ failure: 'protocol' });
  });
});

describe('a bridge of 3.1.1', () => {
  it('says that it is one, unless the broker does not know that', async () => {
    const levels: boolean[] = [];
    const url = await startScriptedBroker((packet, side) => {
      if (packet.cmd !== 'connect') return undefined;
      const isBridge = (packet as { bridgeMode?: boolean }).bridgeMode === true;
      levels.push(isBridge);
      if (!isBridge) return undefined;
      side.send({ cmd: 'connack', sessionPresent: false, returnCode: 1 });
      return true;
    });
    const connection = { version: '3.1.1' };
    await openLink('in', url, { connection });
    expect(levels).toEqual([true, false]);
    await openLink('in', url, { connection: { ...connection, bridgeMode: false } });
    await openLink('out', url, { connection });
    await openLink('in', url);
    expect(levels).toEqual([true, false, false, false, false]);
  });
});

describe('a trial', () => {
  it('is another client than the bridge, and leaves no session', async () => {
    const seen: unknown[] = [];
    const url = await startScriptedBroker((packet, side) => {
      if (packet.cmd === 'connect') {
        const { clientId, properties } = side.connect;
        seen.push([clientId, properties?.sessionExpiryInterval]);
      }
      return undefined;
    });
    const options = { clientId: 'plant', sessionExpirySeconds: 60 };
    await openLink('in', url, { options });
    await openLink('in', url, { options, isTrial: true });
    expect(seen).toEqual([
      ['plant', 60],
      ['plant.trial', 0],
    ]);
  });
});

describe('a broker that ends the connection', () => {
  it('for anything else than a message has none refused', async () => {
    let connections = 0;
    const url = await startScriptedBroker((packet, side) => {
      if (packet.cmd === 'connect') connections++;
      if (packet.cmd !== 'publish') return undefined;
      // Whatever it gets, it takes one more before it ends.
      if (Number(packet.payload.toString()) < connections)
        side.send({ ...ACK, messageId: packet.messageId ?? 0 });
      else side.end();
      return true;
    });
    const { createMqttBridgeDriver } = await import('../../../adapters/bridge-mqtt/index.ts');
    const driver = createMqttBridgeDriver();
    let batch = Array.from({ length: 12 }, (_, at) => outside(at));
    for (let tries = 0; tries < 20 && batch.length > 0; tries++) {
      const { link } = await openLink('out', url, { driver });
      const answers: readonly SendAnswer[] | null = await link.send(batch).catch(() => null);
      if (answers === null) continue;
      expect(answers.some((answer) => answer?.permanent)).toBe(false);
      batch = batch.filter((_, at) => answers[at] !== null);
    }
    expect(batch).toEqual([]);
  });
});
