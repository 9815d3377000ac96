import type { IPublishPacket, Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { createMqttBridgeDriver } from '../../../adapters/bridge-mqtt/index.ts';
import type { Message } from '../../../src/core/index.ts';
import { type BrokerSide, openLink, outside, startScriptedBroker } from './scripted-broker.ts';

const publish = (messageId: number, payload: string, more: Partial<IPublishPacket> = {}): Packet => ({
  cmd: 'publish',
  topic: 'a',
  payload,
  qos: 2,
  dup: false,
  retain: false,
  messageId,
  ...more,
});

describe('a bridge that leads out', () => {
  it.each([
    { name: 'the receive maximum', properties: { receiveMaximum: 3 }, options: {}, most: 3 },
    { name: 'its own bound', properties: {}, options: { inFlightMax: 5 }, most: 5 },
  ])('has no more under way than $name, and fills it', async ({ properties, options, most }) => {
    let underWay = 0;
    let mostSeen = 0;
    const got: string[] = [];
    const url = await startScriptedBroker((packet, side) => {
      if (packet.cmd === 'connect') {
        side.send({ cmd: 'connack', sessionPresent: false, reasonCode: 0, properties });
        return true;
      }
      const { messageId = 0 } = packet;
      if (packet.cmd === 'publish') {
        got.push(packet.payload.toString());
        if (packet.qos === 0) return true;
        mostSeen = Math.max(mostSeen, ++underWay);
        setImmediate(() => {
          // QoS 2 is under way until PUBCOMP.
          if (packet.qos === 1) underWay--;
          side.send({ cmd: packet.qos === 1 ? 'puback' : 'pubrec', messageId, reasonCode: 0 });
        });
      }
      if (packet.cmd === 'pubrel') {
        underWay--;
        side.send({ cmd: 'pubcomp', messageId, reasonCode: 0 });
      }
      return true;
    });
    const { link } = await openLink('out', url, { options });
    const batch = Array.from({ length: 60 }, (_, at) => outside(at, { reliability: (at % 3) as 0 | 1 | 2 }));
    expect(await link.send(batch)).toEqual(batch.map(() => null));
    expect(got).toEqual(batch.map(({ offset }) => String(offset)));
    expect(mostSeen).toBe(most);
  });
});

describe('a bridge that leads out and loses its connection', () => {
  it('tells what was acknowledged before, and only then that it is lost', async () => {
    const url = await startScriptedBroker((packet, side) => {
      if (packet.cmd === 'connect') return undefined;
      if (packet.cmd !== 'publish') return true;
      const body = Number(packet.payload.toString());
      if (body % 2 === 1 && body < 5) side.send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
      if (body === 6) setTimeout(() => side.end(), 5);
      return true;
    });
    const { link, lost } = await openLink('out', url);
    const order: string[] = [];
    void lost.then(() => order.push('lost'));
    // Those with an even number have QoS 0: the broker has read the ones before the last that it acknowledged.
    const batch = Array.from({ length: 7 }, (_, at) => outside(at, { reliability: at % 2 === 0 ? 0 : 1 }));
    const sending = link.send(batch).then(async (answers) => {
      // Whoever waits for it may wait in several steps.
      for (let step = 0; step < 20; step++) await null;
      order.push('answers');
      return answers;
    });
    const unclear = { reason: expect.any(String), permanent: false, general: true };
    expect(await sending).toEqual([null, null, null, null, unclear, unclear, unclear]);
    await lost;
    expect(order).toEqual(['answers', 'lost']);
  });

  it('does not know what became of any when none was acknowledged', async () => {
    const url = await startScriptedBroker((packet, side) => {
      if (packet.cmd === 'publish') side.end();
      return packet.cmd !== 'connect';
    });
    const { link } = await openLink('out', url);
    await expect(link.send([outside(0)])).rejects.toThrow();
  });
});

interface Qos2Broker {
  readonly url: string;
  /** What the bridge answered. */
  readonly heard: string[];
  /** The connection that it opened last. */
  side: BrokerSide | null;
  /** Told to whoever connects. */
  sessionPresent: boolean;
}

/** A broker that grants QoS 2. `connected`: after its CONNACK. */
async function startQos2Broker(connected: (side: BrokerSide) => void = () => {}): Promise<Qos2Broker> {
  const heard: string[] = [];
  const state: Pick<Qos2Broker, 'side' | 'sessionPresent'> = { side: null, sessionPresent: false };
  const url = await startScriptedBroker((packet, from) => {
    if (packet.cmd === 'connect') {
      state.side = from;
      from.send({ cmd: 'connack', sessionPresent: state.sessionPresent, reasonCode: 0 });
      connected(from);
    } else if (packet.cmd === 'subscribe')
      from.send({ cmd: 'suback', messageId: packet.messageId ?? 0, granted: [2] });
    else heard.push(`${packet.cmd} ${packet.messageId}`);
    return true;
  });
  return Object.assign(state, { url, heard });
}

describe('a bridge that leads in', () => {
  it('takes QoS 2 once while it is under way, and again when the number is another message’s', async () => {
    const broker = await startQos2Broker();
    const driver = createMqttBridgeDriver();
    const taken: string[] = [];
    const sink = {
      take: async (messages: readonly Message[]) => {
        taken.push(...messages.map(({ body }) => Buffer.from(body).toString()));
        return messages.map(() => 'stored' as const);
      },
    };
    const begin = async (): Promise<void> => {
      const { link } = await openLink('in', broker.url, { driver, options: { qos: 2 } });
      await link.receive(['a'], sink);
    };
    await begin();
    broker.side!.send(publish(5, 'one'));
    await expect.poll(() => broker.heard).toEqual(['pubrec 5']);
    broker.side!.end();
    broker.sessionPresent = true;
    await begin();
    broker.side!.send(publish(5, 'one', { dup: true }));
    broker.side!.send({ cmd: 'pubrel', messageId: 5 });
    broker.side!.send(publish(5, 'two'));
    await expect.poll(() => broker.heard).toEqual(['pubrec 5', 'pubrec 5', 'pubcomp 5', 'pubrec 5']);
    expect(taken).toEqual(['one', 'two']);
    broker.side!.end();
    await begin();
    // Not sent again: the broker has given the number to another one.
    broker.side!.send(publish(5, 'three'));
    await expect.poll(() => taken).toEqual(['one', 'two', 'three']);
    broker.side!.end();
    broker.sessionPresent = false;
    await begin();
    broker.side!.send(publish(5, 'four', { dup: true }));
    await expect.poll(() => taken).toEqual(['one', 'two', 'three', 'four']);
  });

  it('takes QoS 2 once when the link is lost while it is being stored, and knows it only in its session', async () => {
    const broker = await startQos2Broker((side) => {
      // Sent again before anything else.
      if (broker.sessionPresent) side.send(publish(5, 'one', { dup: true }));
    });
    const driver = createMqttBridgeDriver();
    const taken: string[] = [];
    const stores: (() => void)[] = [];
    const sink = {
      take: (messages: readonly Message[]) => {
        taken.push(...messages.map(({ body }) => Buffer.from(body).toString()));
        return new Promise<'stored'[]>((resolve) => {
          stores.push(() => resolve(messages.map(() => 'stored')));
        });
      },
    };
    const first = await openLink('in', broker.url, { driver, options: { qos: 2 } });
    await first.link.receive(['a'], sink);
    broker.side!.send(publish(5, 'one'));
    await expect.poll(() => taken).toEqual(['one']);
    broker.side!.end();
    await first.lost;
    broker.sessionPresent = true;
    const second = await openLink('in', broker.url, { driver, options: { qos: 2 } });
    const receiving = second.link.receive(['a'], sink);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(taken).toEqual(['one']);
    stores[0]?.();
    await receiving;
    await expect.poll(() => broker.heard).toEqual(['pubrec 5']);
    expect(taken).toEqual(['one']);
    broker.side!.send({ cmd: 'pubrel', messageId: 5 });
    broker.side!.send(publish(6, 'two'));
    await expect.poll(() => taken).toEqual(['one', 'two']);
    broker.side!.end();
    await second.lost;
    // Another session, in which the number is another message's: what the old one has under way says nothing of it.
    broker.sessionPresent = false;
    const third = await openLink('in', broker.url, { driver, options: { qos: 2 } });
    stores[1]?.();
    await third.link.receive(['a'], sink);
    broker.side!.send(publish(6, 'three', { dup: true }));
    await expect.poll(() => taken).toEqual(['one', 'two', 'three']);
  });

  it('acknowledges in the order of arrival, and nothing from the first on that is refused', async () => {
    const heard: string[] = [];
    let side: BrokerSide | null = null;
    const url = await startScriptedBroker((packet, from) => {
      side = from;
      if (packet.cmd === 'connect') return undefined;
      if (packet.cmd === 'subscribe')
        from.send({ cmd: 'suback', messageId: packet.messageId ?? 0, granted: [1] });
      else heard.push(`${packet.cmd} ${packet.messageId}`);
      return true;
    });
    const { link, lost } = await openLink('in', url);
    const answers: ((answer: 'stored' | 'refused') => void)[] = [];
    await link.receive(['a'], {
      take: (messages) =>
        new Promise((resolve) => {
          answers.push((answer) => resolve(messages.map(() => answer)));
        }),
    });
    for (let id = 1; id <= 4; id++) {
      side!.send(publish(id, 'x', { qos: 1 }));
      await expect.poll(() => answers.length).toBe(id);
    }
    answers[1]?.('stored');
    answers[3]?.('stored');
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(heard).toEqual([]);
    answers[0]?.('stored');
    await expect.poll(() => heard).toEqual(['puback 1', 'puback 2']);
    answers[2]?.('refused');
    expect((await lost).message).toContain('could not be stored');
    expect(heard).toEqual(['puback 1', 'puback 2']);
  });
});
