/**
 * One subscription to a stream: reads its partitions from where the subscriber asked and hands the records to the
 * client as fast as it takes them. Nothing is settled in the stream: an acknowledgement only moves the position from
 * which a session goes on when its client comes back. Made by `feeds.ts`.
 */

import { mqtt5Codec } from '../../../mappings/mqtt.ts';
import { mqttPropertiesFromStreamRecord, type StreamStart } from '../../../mappings/mqtt-queues.ts';
import {
  type Core,
  type Delivery,
  LastAnswer,
  type Message,
  type Partition,
  type Pattern,
  PLAIN_DELIVERY,
  type Reliability,
  type Stream,
  type StreamMessages,
} from '../../../src/core/index.ts';
import { propertiesOfDelivery } from '../codec/delivery-properties.ts';
import type { Client } from '../state/client.ts';
import type { Outbound } from '../state/outbound.ts';

/** Stored bytes read from a partition at once. */
const READ_BYTES = 64 * 1024;

export interface StreamFeedOptions {
  readonly core: Core;
  readonly outbound: Outbound;
  readonly client: Client;
  readonly stream: Stream;
  /** Null: everything. */
  readonly pattern: Pattern | null;
  readonly qos: Reliability;
  readonly subscriptionId: number;
  /** The stream cannot be read: it is deleted, or its disk fails. */
  failed(error: unknown): void;
}

/** Where the feed is in one partition. */
interface Place {
  readonly partition: Partition;
  /** What is read next. */
  nextOffset: number;
  records: StreamMessages['messages'];
  /** Of `records`, those sent or passed over. */
  done: number;
  readonly unacknowledged: Set<number>;
  isReading: boolean;
  stopWaiting: (() => void) | null;
}

export class StreamFeed {
  readonly #options: StreamFeedOptions;
  readonly #rights: LastAnswer;
  #places: Place[] = [];
  #closed = false;

  constructor(options: StreamFeedOptions) {
    this.#options = options;
    this.#rights = new LastAnswer(options.core.access, 'read');
  }

  /** By partition, what a later feed begins with so that nothing is missed; empty before the first is known. */
  get positions(): number[] {
    return this.#places.map(({ unacknowledged, records, done, nextOffset }) =>
      Math.min(records[done]?.offset ?? nextOffset, ...unacknowledged),
    );
  }

  /** `positions`: of an earlier feed; partitions that it did not know begin at `start`. */
  async begin(start: StreamStart, positions: readonly number[]): Promise<void> {
    try {
      const { partitions } = this.#options.stream;
      // All at once: what is appended from now on comes after "latest" in each of them.
      const offsets = await Promise.all(
        partitions.map((partition) => positions[partition.index] ?? firstOffset(partition, start)),
      );
      const places: Place[] = partitions.map((partition, i) => ({
        partition,
        nextOffset: offsets[i] as number,
        records: [],
        done: 0,
        unacknowledged: new Set<number>(),
        isReading: false,
        stopWaiting: null,
      }));
      if (this.#closed) return;
      this.#places = places;
      for (const place of places) this.#read(place);
    } catch (error) {
      if (!this.#closed) this.#options.failed(error);
    }
  }

  close(): void {
    this.#closed = true;
    for (const place of this.#places) place.stopWaiting?.();
  }

  /** The connection has room again. */
  sendParked(): void {
    for (const place of this.#places) if (place.done < place.records.length) this.#send(place);
  }

  #read(place: Place): void {
    if (this.#closed || place.isReading) return;
    const { partition } = place;
    if (place.nextOffset >= partition.endOffset) {
      const { core, stream } = this.#options;
      if (core.streams.get(stream.spec.name) !== stream) {
        this.#options.failed(new Error('it was deleted'));
        return;
      }
      place.stopWaiting = partition.onAppend(() => this.#read(place));
      return;
    }
    place.isReading = true;
    // What retention has taken meanwhile is passed over.
    const offset = Math.max(place.nextOffset, partition.startOffset);
    this.#options.stream.readMessages(partition.index, offset, READ_BYTES).then(
      ({ messages, nextOffset }) => {
        place.isReading = false;
        if (this.#closed) return;
        place.records = messages;
        place.done = 0;
        place.nextOffset = nextOffset;
        this.#send(place);
      },
      (error: unknown) => {
        if (!this.#closed) this.#options.failed(error);
      },
    );
  }

  /** Until the connection has no more room; then the next are read. */
  #send(place: Place): void {
    const { outbound, qos, subscriptionId, core } = this.#options;
    const options = {
      ...PLAIN_DELIVERY,
      reliability: qos,
      subscriptionIds: subscriptionId === 0 ? [] : [subscriptionId],
    };
    for (; place.done < place.records.length; place.done++) {
      const record = place.records[place.done] as StreamMessages['messages'][number];
      if (!this.#isWanted(record.message)) continue;
      const message = this.#copyOf(record, place.partition.index);
      const delivery = qos === 0 ? null : acknowledging(place, record.offset, message, options);
      const result = outbound.sendGuest(message, options, delivery);
      if (result === 'full') return;
      if (result === 'too-large') core.counters.dropped++;
      else if (delivery !== null) place.unacknowledged.add(record.offset);
    }
    this.#read(place);
  }

  #isWanted(message: Message): boolean {
    const { pattern, core, client } = this.#options;
    if (pattern !== null && !pattern.matches(message.address)) return false;
    if (message.expiresAtMs !== 0 && message.expiresAtMs <= core.clock.nowMs()) return false;
    return this.#rights.may(client.principal, message.address);
  }

  #copyOf({ message, offset, timestampMs }: StreamMessages['messages'][number], partition: number): Message {
    const { client, core, qos } = this.#options;
    if (client.version !== 5) return message.with({ reliability: qos });
    const native = mqttPropertiesFromStreamRecord(propertiesOfDelivery(message, core.replies), {
      partition,
      offset,
      timestampMs,
    });
    return message.with({ reliability: qos, codec: mqtt5Codec, native });
  }
}

async function firstOffset(partition: Partition, start: StreamStart): Promise<number> {
  if (start === 'earliest') return partition.startOffset;
  if (start === 'latest') return partition.endOffset;
  if (!start.time) return Math.min(Math.max(start.at, partition.startOffset), partition.endOffset);
  return (await partition.offsetAt(start.at))?.offset ?? partition.endOffset;
}

function acknowledging(
  place: Place,
  offset: number,
  message: Message,
  options: Delivery['options'],
): Delivery {
  return {
    message,
    options,
    // It is none of the session's own.
    offset: Number.NaN,
    failedCount: 0,
    redelivered: false,
    settle: () => void place.unacknowledged.delete(offset),
  };
}
