/**
 * SUBSCRIBE and UNSUBSCRIBE: one code for each filter, in order. Each filter goes to the root that its first level
 * names (`reserved-roots.ts`), or is a plain one (`subscribe-plain.ts`). The answer of a durable session leaves when
 * the change is stored; retained messages follow the answer. Source: MQTT 5.0 sections 3.8 to 3.11 and 4.7.
 */

import type { Core, Session } from '../../../src/core/index.ts';
import type { Logger, Transport } from '../../../src/host.ts';
import { subackPacket } from '../codec/control.ts';
import { readSubscribe, readUnsubscribe } from '../codec/subscribe.ts';
import { PacketType, type Reader } from '../codec/wire.ts';
import { MqttError, Reason } from '../errors.ts';
import type { QueueFeeds } from '../queues/feeds.ts';
import type { MqttLimits } from '../settings.ts';
import type { Client, ConnectionEvents } from '../state/client.ts';
import type { Outbound } from '../state/outbound.ts';
import type { Replay } from '../state/replay.ts';
import type { Traffic } from '../state/traffic.ts';
import { reservedRootOf } from './reserved-roots.ts';
import { type Replayed, subscribePlain, unsubscribePlain } from './subscribe-plain.ts';

export interface SubscribeContext {
  readonly core: Core;
  readonly transport: Transport;
  readonly client: Client;
  readonly session: Session;
  readonly replay: Replay;
  /** Made with the first queue subscription. */
  queues: QueueFeeds | null;
  readonly outbound: Outbound;
  readonly logger: Logger;
  readonly limits: MqttLimits;
  readonly events: ConnectionEvents;
  readonly traffic: Traffic;
  /** Answers that wait for the disk. */
  waitingCount: number;
}

/** The refusal of a SUBACK before version 5. */
const FAILURE = 0x80;

export function handleSubscribe(context: SubscribeContext, reader: Reader): void {
  const { client, limits } = context;
  const packet = readSubscribe(reader, client.version);
  checkCount(packet.entries.length, limits);
  const codes: number[] = [];
  const texts: string[] = [];
  const replayed: Replayed[] = [];
  let isShared = false;
  for (const entry of packet.entries) {
    const root = reservedRootOf(entry.filter);
    // What several share, a queue or a group, outlives the session that made it.
    if (root !== undefined) isShared = true;
    const refusal =
      root === undefined
        ? subscribePlain(context, entry, packet.subscriptionId, replayed)
        : root.subscribe(context, entry, packet);
    codes.push(refusal === null ? entry.qos : refusal.reason);
    if (refusal !== null) texts.push(`${entry.filter}: ${refusal.message}`);
  }
  whenStored(context, isShared, () => {
    writeSuback(context, packet.packetId, codes, texts);
    // It may have ended the connection, and the session must not gather for it then.
    if (!context.events.isOpen()) return;
    for (const { pattern, options } of replayed) context.replay.add(pattern, options);
    context.replay.pump();
  });
}

function writeSuback(
  context: SubscribeContext,
  packetId: number,
  codes: readonly number[],
  texts: readonly string[],
): void {
  const { client } = context;
  const { version, packetBytesMax } = client;
  if (version === 5) {
    const text = client.wantsProblemInformation ? texts.join('; ').slice(0, 1024) : '';
    writeAnswer(context, subackPacket(PacketType.SUBACK, version, packetId, codes, text, packetBytesMax));
    return;
  }
  // MQTT 3.1 has no code for a refusal: the connection says it.
  if (version === 3 && texts.length > 0) {
    context.events.fail(new MqttError(Reason.notAuthorized, `subscription refused: ${texts[0]}`));
    return;
  }
  const plain = codes.map((code) => (code >= 0x80 ? FAILURE : code));
  writeAnswer(context, subackPacket(PacketType.SUBACK, version, packetId, plain, '', packetBytesMax));
}

/** `[MQTT-3.1.2-24]`: a client that has no room for the answer to its own packet cannot be served. */
function writeAnswer({ client, transport, events, traffic }: SubscribeContext, packet: Buffer): void {
  if (packet.length <= client.packetBytesMax) {
    transport.write(packet);
    traffic.sent(packet.length);
  } else
    events.fail(
      new MqttError(Reason.packetTooLarge, 'the maximum packet size leaves no room for the answer'),
    );
}

export function handleUnsubscribe(context: SubscribeContext, reader: Reader): void {
  const { client, limits } = context;
  const packet = readUnsubscribe(reader, client.version);
  checkCount(packet.filters.length, limits);
  // [MQTT-3.11.3-1]
  const codes = packet.filters.map((filter) => {
    const root = reservedRootOf(filter);
    return root === undefined ? unsubscribePlain(context, filter) : root.unsubscribe(context, filter);
  });
  whenStored(context, false, () => {
    writeAnswer(
      context,
      subackPacket(PacketType.UNSUBACK, client.version, packet.packetId, codes, '', client.packetBytesMax),
    );
  });
}

function checkCount(count: number, limits: MqttLimits): void {
  if (count > limits.subscriptionsPerPacketMax) {
    throw new MqttError(Reason.quotaExceeded, `${count} topic filters in one packet`);
  }
}

/** At once where nothing is kept on disk. */
function whenStored(context: SubscribeContext, isShared: boolean, done: () => void): void {
  if (!context.session.durable && !isShared) {
    done();
    return;
  }
  context.waitingCount++;
  context.core.whenStored((error) => {
    context.waitingCount--;
    if (!context.events.isOpen()) return;
    if (error === null) done();
    else context.events.fail(error);
  });
}
