/**
 * SUBSCRIBE and UNSUBSCRIBE: one code for each filter, in order. The answer of a durable session leaves when the
 * change is stored; retained messages follow the answer. Source: MQTT 5.0 sections 3.8 to 3.11 and 4.7.
 */

import { explainInvalidFilter, patternFromFilter } from '../../../mappings/mqtt.ts';
import {
  type Core,
  CoreError,
  type DeliveryOptions,
  type Pattern,
  type Session,
  type SubscriptionOptions,
} from '../../../src/core/index.ts';
import type { Transport } from '../../../src/host.ts';
import { subackPacket } from '../codec/control.ts';
import { readSubscribe, readUnsubscribe, type SubscribeEntry } from '../codec/subscribe.ts';
import { PacketType, type Reader } from '../codec/wire.ts';
import { MqttError, protocolError, REASON_BY_CORE_ERROR, Reason } from '../errors.ts';
import type { MqttLimits } from '../settings.ts';
import type { Client, ConnectionEvents } from '../state/client.ts';
import type { Replay } from '../state/replay.ts';

export interface SubscribeContext {
  readonly core: Core;
  readonly transport: Transport;
  readonly client: Client;
  readonly session: Session;
  readonly replay: Replay;
  readonly limits: MqttLimits;
  readonly events: ConnectionEvents;
  /** Answers that wait for the disk. */
  waitingCount: number;
}

/** Roots of filters that are reserved for what this server does not offer. */
const RESERVED_FILTER = /^\$(queue|stream|delayed)(\/|$)/;
/** The refusal of a SUBACK before version 5. */
const FAILURE = 0x80;

interface Replayed {
  readonly pattern: Pattern;
  readonly options: DeliveryOptions;
}

export function handleSubscribe(context: SubscribeContext, reader: Reader): void {
  const { client, limits } = context;
  const packet = readSubscribe(reader, client.version);
  checkCount(packet.entries.length, limits);
  const codes: number[] = [];
  const texts: string[] = [];
  const replayed: Replayed[] = [];
  for (const entry of packet.entries) {
    const refusal = subscribe(context, entry, packet.subscriptionId, replayed);
    codes.push(refusal === null ? entry.qos : refusal.reason);
    if (refusal !== null) texts.push(`${entry.filter}: ${refusal.message}`);
  }
  whenStored(context, () => {
    writeSuback(context, packet.packetId, codes, texts);
    // It may have ended the connection, and the session must not gather for it then.
    if (!context.events.isOpen()) return;
    for (const { pattern, options } of replayed) context.replay.add(pattern, options);
    context.replay.pump();
  });
}

/** Returns why not, or null. */
function subscribe(
  context: SubscribeContext,
  entry: SubscribeEntry,
  id: number,
  replayed: Replayed[],
): MqttError | null {
  const { core, client, session, limits } = context;
  const { filter } = entry;
  if (filter === '$share' || filter.startsWith('$share/')) {
    // [MQTT-3.8.3-4]
    if (entry.noLocal) throw protocolError('a shared subscription with No Local');
    return new MqttError(Reason.sharedSubscriptionsNotSupported, 'shared subscriptions are not supported');
  }
  const pattern = patternFromFilter(filter);
  if (pattern === null) {
    return new MqttError(Reason.topicFilterInvalid, explainInvalidFilter(filter) ?? 'not a topic filter');
  }
  if (pattern.tokens.length > limits.topicLevelsMax) {
    return new MqttError(Reason.topicFilterInvalid, `more than ${limits.topicLevelsMax} levels`);
  }
  if (RESERVED_FILTER.test(filter)) {
    return new MqttError(Reason.implementationSpecific, 'this root is reserved');
  }
  if (!core.access.may(client.principal, 'subscribe', filter)) {
    return new MqttError(Reason.notAuthorized, 'not allowed');
  }
  const options: SubscriptionOptions = {
    reliability: entry.qos,
    noLocal: entry.noLocal || client.bridge,
    keepRetain: entry.retainAsPublished || client.bridge,
    id,
  };
  let isNew: boolean;
  try {
    isNew = session.subscribe(pattern, options);
  } catch (error) {
    if (!(error instanceof CoreError)) throw error;
    // Table 3-8: what the core calls a name is a filter here.
    const reason =
      error.code === 'invalid-name' ? Reason.topicFilterInvalid : REASON_BY_CORE_ERROR[error.code];
    return new MqttError(reason, error.message);
  }
  // [MQTT-3.3.1-9] to [MQTT-3.3.1-11]
  if (entry.retainHandling === 0 || (entry.retainHandling === 1 && isNew)) {
    replayed.push({
      pattern,
      options: {
        reliability: entry.qos,
        subscriptionIds: id === 0 ? [] : [id],
        retained: true,
        keepRetain: options.keepRetain,
        via: null,
      },
    });
  }
  return null;
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
function writeAnswer({ client, transport, events }: SubscribeContext, packet: Buffer): void {
  if (packet.length <= client.packetBytesMax) transport.write(packet);
  else
    events.fail(
      new MqttError(Reason.packetTooLarge, 'the maximum packet size leaves no room for the answer'),
    );
}

export function handleUnsubscribe(context: SubscribeContext, reader: Reader): void {
  const { client, session, replay, limits } = context;
  const packet = readUnsubscribe(reader, client.version);
  checkCount(packet.filters.length, limits);
  const codes = packet.filters.map((filter) => {
    const pattern = patternFromFilter(filter);
    if (pattern === null) return Reason.topicFilterInvalid;
    replay.remove(pattern);
    return session.unsubscribe(pattern) ? Reason.success : Reason.noSubscriptionExisted; // [MQTT-3.11.3-1]
  });
  whenStored(context, () => {
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
function whenStored(context: SubscribeContext, done: () => void): void {
  if (!context.session.durable) {
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
