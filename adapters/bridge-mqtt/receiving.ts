/**
 * In: hands what the broker sends to the sink, everything of one read of the socket at once, and acknowledges it only
 * when the sink has stored it, in the order in which it came. Used by the link of a bridge that leads in.
 *
 * What the sink refuses is never acknowledged, nor what came behind it: the link is lost, and the broker sends all of it
 * again, in order, to the session that it keeps. Back-pressure: no more than `inFlightMax` messages and `IN_FLIGHT_BYTES_MAX`
 * are in the sink; the broker of version 5 knows the first as the receive maximum, and beyond either the socket rests.
 */

import { addressFromTopic, messageFromMqtt } from '../../mappings/mqtt.ts';
import type { Clock, Message } from '../../src/core/index.ts';
import { type InboundSink, LinkError, type TakeAnswer } from '../../src/outside.ts';
import type { OutsideClient } from './client.ts';
import { type Ack, ackPackets, PacketType, readAck, readPublish } from './codec.ts';
import type { MessageHandler } from './packet-stream.ts';

const DUPLICATE = 0x08;
const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024;

/** Messages that are in the sink; null: nothing is owed for this one. */
interface Taken {
  readonly acks: readonly (Ack | null)[];
  readonly bytes: number;
  /** Null until they have their answers. */
  answers: readonly TakeAnswer[] | null;
}

export class Receiving implements MessageHandler {
  readonly #client: OutsideClient;
  readonly #sink: InboundSink;
  readonly #inFlightMax: number;
  readonly #version5: boolean;
  readonly #clock: Clock;
  /** Identifiers of QoS 2 that are stored and not released; kept from one link to the next of the same session. */
  readonly #received: Set<number>;
  readonly #taken: Taken[] = [];
  /** With the sink, whatever became of the connection meanwhile. */
  readonly #asked = new Set<Promise<void>>();
  #messages: Message[] = [];
  #acks: (Ack | null)[] = [];
  #bytes = 0;
  #inFlight = 0;
  #inFlightBytes = 0;
  #isStopped = false;
  #idle: (() => void) | null = null;

  constructor(
    client: OutsideClient,
    sink: InboundSink,
    context: {
      readonly inFlightMax: number;
      readonly version5: boolean;
      readonly clock: Clock;
      readonly received: Set<number>;
    },
  ) {
    this.#client = client;
    this.#sink = sink;
    this.#inFlightMax = context.inFlightMax;
    this.#version5 = context.version5;
    this.#clock = context.clock;
    this.#received = context.received;
    client.stream.handle(this);
  }

  get isReady(): boolean {
    return (
      !this.#isStopped && this.#inFlight < this.#inFlightMax && this.#inFlightBytes < IN_FLIGHT_BYTES_MAX
    );
  }

  packet(first: number, buffer: Buffer, start: number, end: number): void {
    const type = first >> 4;
    if (type === PacketType.PUBREL) this.#release(readAck(buffer, start, end).packetId);
    if (type !== PacketType.PUBLISH) return;
    const publish = readPublish(first, buffer, start, end, this.#version5);
    const { packetId, qos } = publish;
    // Sent again because the broker did not hear that it was stored.
    if (qos === 2 && (first & DUPLICATE) !== 0 && this.#received.has(packetId)) {
      this.#client.stream.write(ackPackets([{ type: 'PUBREC', packetId }]));
      return;
    }
    const address = addressFromTopic(publish.topic);
    this.#messages.push(messageFromMqtt(publish, address, '', this.#clock.nowMs()));
    this.#acks.push(qos === 0 ? null : { type: qos === 1 ? 'PUBACK' : 'PUBREC', packetId });
    this.#bytes += end - start;
    this.#inFlight++;
    this.#inFlightBytes += end - start;
  }

  turned(): void {
    if (this.#messages.length === 0) return;
    const messages = this.#messages;
    const taken: Taken = { acks: this.#acks, bytes: this.#bytes, answers: null };
    this.#messages = [];
    this.#acks = [];
    this.#bytes = 0;
    this.#taken.push(taken);
    const settle = (answers: readonly TakeAnswer[]): void => {
      taken.answers = answers;
      // At once: what is stored comes again where its acknowledgement cannot leave, or waits behind one that is refused.
      for (const [at, ack] of taken.acks.entries()) {
        if (ack?.type === 'PUBREC' && answers[at] === 'stored') this.#received.add(ack.packetId);
      }
      this.#settle();
    };
    const asked = this.#sink.take(messages).then(settle, () => settle([]));
    this.#asked.add(asked);
    void asked.finally(() => this.#asked.delete(asked));
  }

  /** Resolves when the sink has answered for everything that it was given. */
  async answered(): Promise<void> {
    await Promise.allSettled(this.#asked);
  }

  /** Takes no more; resolves when what is in the sink has its answers. */
  stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#taken.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }

  #release(packetId: number): void {
    this.#received.delete(packetId);
    this.#client.stream.write(ackPackets([{ type: 'PUBCOMP', packetId }]));
  }

  /** From the oldest on, as far as they have answers. `[MQTT-4.6.0-2]` */
  #settle(): void {
    const acks: Ack[] = [];
    let isRefused = false;
    while (!isRefused && this.#taken[0]?.answers != null) {
      const { acks: owed, bytes, answers } = this.#taken.shift() as Taken;
      this.#inFlight -= owed.length;
      this.#inFlightBytes -= bytes;
      for (const [at, ack] of owed.entries()) {
        if (ack === null) continue;
        isRefused = answers?.[at] !== 'stored';
        if (isRefused) break;
        acks.push(ack);
      }
    }
    const { stream } = this.#client;
    if (acks.length > 0 && !stream.destroyed) stream.write(ackPackets(acks));
    if (isRefused) this.#refuse();
    if (this.#taken.length === 0) this.#idle?.();
    stream.rested();
  }

  #refuse(): void {
    if (!this.#isStopped) {
      this.#client.fail(
        new LinkError('closed', 'a message could not be stored here; the broker is to send it again'),
      );
    }
    this.#isStopped = true;
    this.#taken.length = 0;
  }
}
