/**
 * Out: publishes a batch to the broker, in order and as many at once as the broker takes (its receive maximum), and
 * gathers what became of each message. QoS 0 is answered when it was written, QoS 1 by PUBACK, QoS 2 by PUBCOMP. Used by
 * the link of a bridge that leads out; one batch at a time.
 * A message that makes the broker end the connection is found and refused (`suspicion.ts`).
 */

import { mqttPropertiesFromMessage, topicFromAddress } from '../../mappings/mqtt.ts';
import type { Clock, Message, Reliability, Timer } from '../../src/core/index.ts';
import { answersOfLost, LinkError, type OutsideMessage, type SendAnswer } from '../../src/outside.ts';
import type { OutsideClient } from './client.ts';
import {
  type Ack,
  ackPackets,
  type OutgoingPublish,
  PacketType,
  publishBytes,
  readAck,
  writePublish,
} from './codec.ts';
import { answerFromReason, FIRST_FAILURE } from './errors.ts';
import type { MessageHandler } from './packet-stream.ts';
import type { MqttOutOptions } from './settings.ts';
import { hasDisallowedText, type Suspicion } from './suspicion.ts';

const TOPIC_BYTES_MAX = 65_535;
const TOPICS_REMEMBERED_MAX = 4_096;
const PACKET_IDS_MAX = 65_535;
/** Bytes that are put together for one write. */
const WRITE_BYTES = 256 * 1024;
interface Batch {
  readonly messages: readonly OutsideMessage[];
  readonly answers: (SendAnswer | undefined)[];
  /** The next message to send. */
  at: number;
  unanswered: number;
  /** Those of QoS 0: answered as they were written. */
  readonly written: number[];
  /** The last one in order that the broker has answered for: it has read everything up to there. */
  read: number;
  resolve(answers: readonly SendAnswer[]): void;
  reject(error: Error): void;
}

export class Sending implements MessageHandler {
  readonly isReady = true;
  readonly #client: OutsideClient;
  readonly #options: MqttOutOptions;
  readonly #clock: Clock;
  readonly #suspicion: Suspicion;
  readonly #version5: boolean;
  readonly #qosMax: Reliability;
  readonly #packetBytesMax: number;
  readonly #aliasesMax: number;
  readonly #inFlightMax: number;
  readonly #aliases = new Map<string, number>();
  readonly #topics = new Map<string, Uint8Array>();
  /** By packet identifier: the place in the batch. */
  readonly #underWay = new Map<number, number>();
  #lastPacketId = 0;
  #batch: Batch | null = null;
  #releases: Ack[] = [];
  #pieces: Buffer[] = [];
  #isWaitingForSocket = false;
  #error: Error | null = null;
  #progressMs = 0;
  readonly #answered: () => void;
  #timer: Timer | null = null;

  constructor(
    client: OutsideClient,
    options: MqttOutOptions,
    context: {
      readonly version5: boolean;
      /** Forgotten as it is sent. */
      readonly atMostOnce: boolean;
      readonly clock: Clock;
      readonly suspicion: Suspicion;
      /** The broker goes on. */
      answered?(): void;
    },
  ) {
    const { agreement } = client;
    const { qos } = options;
    this.#client = client;
    this.#options = options;
    this.#clock = context.clock;
    this.#suspicion = context.suspicion;
    this.#version5 = context.version5;
    this.#answered = () => context.answered?.();
    this.#qosMax = context.atMostOnce
      ? 0
      : (Math.min(agreement.qosMax, qos === 'keep' ? 2 : qos) as Reliability);
    this.#packetBytesMax = Math.min(agreement.packetBytesMax, options.packetBytesMax);
    this.#inFlightMax = Math.min(agreement.receiveMaximum, options.inFlightMax);
    this.#aliasesMax = Math.min(agreement.topicAliasMaximum, options.topicAliases);
    client.stream.handle(this);
    client.whenOver((error) => this.#over(error));
  }

  /** Resolves when each message has its answer. */
  send(messages: readonly OutsideMessage[]): Promise<readonly SendAnswer[]> {
    if (this.#error !== null) return Promise.reject(this.#error);
    if (messages.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      this.#batch = {
        messages,
        answers: new Array(messages.length).fill(undefined),
        at: 0,
        unanswered: messages.length,
        written: [],
        read: -1,
        resolve,
        reject,
      };
      this.#progressMs = this.#clock.nowMs();
      this.#pump();
      this.#watch();
    });
  }

  packet(first: number, buffer: Buffer, start: number, end: number): void {
    const type = first >> 4;
    const { packetId, reason } = readAck(buffer, start, end);
    const index = this.#underWay.get(packetId);
    if (index === undefined) return;
    this.#progressMs = this.#clock.nowMs();
    this.#answered();
    if (this.#batch !== null) this.#batch.read = Math.max(this.#batch.read, index);
    if (type === PacketType.PUBREC && reason < FIRST_FAILURE) {
      this.#releases.push({ type: 'PUBREL', packetId });
    } else if (type === PacketType.PUBACK || type === PacketType.PUBREC) {
      this.#underWay.delete(packetId);
      this.#answer(index, answerFromReason(reason, ''));
    } else if (type === PacketType.PUBCOMP) {
      // Whatever it says: the broker has it since PUBREC.
      this.#underWay.delete(packetId);
      this.#answer(index, null);
    }
  }

  turned(): void {
    if (this.#releases.length > 0) {
      this.#client.stream.write(ackPackets(this.#releases));
      this.#releases = [];
    }
    this.#pump();
  }

  #answer(index: number, answer: SendAnswer): void {
    const batch = this.#batch;
    if (batch === null) return;
    batch.answers[index] = answer;
    batch.unanswered--;
  }

  /** Sends what may be sent now, and ends the batch when nothing of it is left. */
  #pump(): void {
    const batch = this.#batch;
    if (batch === null || this.#isWaitingForSocket) return;
    let bytes = 0;
    while (batch.at < batch.messages.length && bytes < WRITE_BYTES) {
      const outside = batch.messages[batch.at] as OutsideMessage;
      if (this.#suspicion.isAlone(outside.offset) && this.#underWay.size > 0) break;
      const index = batch.at;
      const publish = this.#publishOf(outside);
      if ('permanent' in publish) {
        batch.at++;
        this.#answer(index, publish);
        continue;
      }
      if (publish.qos > 0 && this.#underWay.size >= this.#inFlightMax) break;
      batch.at++;
      bytes += this.#put(publish, index, outside.message.address);
    }
    this.#write();
    if (batch.unanswered > 0) {
      if (batch.at < batch.messages.length && bytes >= WRITE_BYTES) this.#pump();
      return;
    }
    if (this.#isWaitingForSocket) return;
    this.#batch = null;
    this.#timer?.cancel();
    this.#timer = null;
    this.#suspicion.passed((batch.messages[batch.messages.length - 1] as OutsideMessage).offset);
    batch.resolve(batch.answers as SendAnswer[]);
  }

  /** Returns the bytes that it takes. */
  #put(publish: OutgoingPublish, index: number, address: string): number {
    let packetId = 0;
    if (publish.qos === 0) {
      this.#answer(index, null);
      this.#batch?.written.push(index);
    } else {
      packetId = this.#nextPacketId();
      this.#underWay.set(packetId, index);
    }
    const known = this.#aliases.get(address);
    let alias = known ?? 0;
    if (known === undefined && this.#aliases.size < this.#aliasesMax) {
      alias = this.#aliases.size + 1;
      this.#aliases.set(address, alias);
    }
    const piece = Buffer.allocUnsafe(publishBytes(publish, alias, known !== undefined));
    writePublish(piece, 0, publish, packetId, alias, known !== undefined);
    this.#pieces.push(piece);
    return piece.length;
  }

  /** In one write. What the socket does not take yet is waited for: it is bounded by the batch, and then there is time. */
  #write(): void {
    const pieces = this.#pieces;
    if (pieces.length === 0) return;
    this.#pieces = [];
    const { stream } = this.#client;
    if (stream.write(pieces.length === 1 ? pieces[0] : Buffer.concat(pieces))) return;
    this.#isWaitingForSocket = true;
    stream.once('drain', () => {
      this.#isWaitingForSocket = false;
      this.#progressMs = this.#clock.nowMs();
      this.#answered();
      this.#pump();
    });
  }

  #nextPacketId(): number {
    do this.#lastPacketId = this.#lastPacketId === PACKET_IDS_MAX ? 1 : this.#lastPacketId + 1;
    while (this.#underWay.has(this.#lastPacketId));
    return this.#lastPacketId;
  }

  /** The message as it is sent, or why the broker could never take it. */
  #publishOf({ offset, message }: OutsideMessage): OutgoingPublish | NonNullable<SendAnswer> {
    const topic = this.#topicOf(message.address);
    if (topic.length === 0) return never('an empty address is no topic');
    if (topic.length > TOPIC_BYTES_MAX) return never(`a topic has at most ${TOPIC_BYTES_MAX} bytes`);
    if (topic.includes(0)) return never('a topic holds no U+0000');
    // Before version 5 a broker cannot say why it ends the connection.
    if (!this.#version5 && hasDisallowedText(message.address)) {
      return never('the topic holds a control character');
    }
    const native = this.#version5 ? mqttPropertiesFromMessage(message) : null;
    const verdict = this.#suspicion.verdict(offset, message, native);
    if (verdict !== null) return never(verdict);
    // One that is suspected has to be acknowledged, or the next one would be blamed for it.
    const asked = this.#suspicion.isAlone(offset) ? Math.max(1, message.reliability) : message.reliability;
    const publish: OutgoingPublish = {
      topic,
      body: message.body,
      qos: Math.min(asked, this.#qosMax) as Reliability,
      retain: message.retain && this.#options.retain === 'keep' && this.#client.agreement.retainAvailable,
      native,
      expirySeconds: this.#version5 && message.expiresAtMs !== 0 ? this.#secondsLeft(message) : -1,
    };
    const bytes = publishBytes(publish);
    if (bytes > this.#packetBytesMax) {
      return never(`it takes ${bytes} bytes, and the broker takes packets of ${this.#packetBytesMax}`);
    }
    return publish;
  }

  /** Never 0 for a message that is still sent. `[MQTT-3.3.2-6]` */
  #secondsLeft(message: Message): number {
    return Math.min(0xffff_ffff, Math.max(1, Math.ceil((message.expiresAtMs - this.#clock.nowMs()) / 1000)));
  }

  #topicOf(address: string): Uint8Array {
    let topic = this.#topics.get(address);
    if (topic === undefined) {
      topic = Buffer.from(topicFromAddress(address));
      if (this.#topics.size >= TOPICS_REMEMBERED_MAX) this.#topics.clear();
      this.#topics.set(address, topic);
    }
    return topic;
  }

  /** A broker that is there and acknowledges nothing would hold the bridge for ever. */
  #watch(): void {
    const timeoutMs = this.#options.answerTimeoutMs;
    const leftMs = this.#progressMs + timeoutMs - this.#clock.nowMs();
    if (this.#batch === null) return;
    if (leftMs <= 0) {
      this.#client.fail(new LinkError('timeout', `nothing was acknowledged for ${timeoutMs} milliseconds`));
      return;
    }
    this.#timer = this.#clock.after(leftMs, () => this.#watch());
  }

  #over(error: Error): void {
    this.#error = error;
    this.#timer?.cancel();
    const batch = this.#batch;
    this.#batch = null;
    if (batch === null) return;
    this.#suspect(batch, error);
    for (const index of batch.written) if (index > batch.read) batch.answers[index] = undefined;
    const answers = answersOfLost(batch.answers, error);
    if (answers === null) batch.reject(error);
    else batch.resolve(answers);
  }

  #suspect({ messages, at }: Batch, error: Error): void {
    if (this.#underWay.size === 0) return;
    const first = messages[Math.min(...this.#underWay.values())] as OutsideMessage;
    const last = messages[at - 1] as OutsideMessage;
    const native = this.#version5 ? mqttPropertiesFromMessage(first.message) : null;
    this.#suspicion.lost(first.offset, last.offset, error, first.message, native);
  }
}

const never = (reason: string): NonNullable<SendAnswer> => ({ reason, permanent: true });
