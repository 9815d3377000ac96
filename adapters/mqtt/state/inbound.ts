/**
 * Everything that one client publishes: hands it to the core, owes the acknowledgements and remembers QoS 2
 * identifiers until PUBREL. An acknowledgement leaves only when the core says that the message is stored; for a
 * durable session also not before the QoS 2 identifier is. Source: MQTT 5.0 sections 4.3, 4.6, 4.9.
 */

import { messageFromMqtt } from '../../../mappings/mqtt.ts';
import {
  type Core,
  CoreError,
  type Message,
  NO_ROUTE,
  PENDING,
  type Publisher,
  type PublishResult,
  type Session,
} from '../../../src/core/index.ts';
import type { Transport } from '../../../src/host.ts';
import { arrived } from '../codec/arrived.ts';
import { ackPacket, writeAck } from '../codec/control.ts';
import type { PublishFrame } from '../codec/publish.ts';
import { PacketType } from '../codec/wire.ts';
import { MqttError, REASON_BY_CORE_ERROR, Reason, type ReasonCode } from '../errors.ts';
import { AckQueue, type AckWriter } from './acks.ts';
import type { Client, ConnectionEvents } from './client.ts';
import type { SessionState } from './session-state.ts';
import type { Traffic } from './traffic.ts';

export interface InboundOptions {
  readonly core: Core;
  readonly transport: Transport;
  readonly client: Client;
  readonly session: Session;
  readonly state: SessionState;
  readonly publisher: Publisher;
  /** What a version 5 client was told; 0 for others. */
  readonly receiveMaximum: number;
  readonly refusedPublish: 'close' | 'acknowledge';
  readonly events: ConnectionEvents;
  readonly traffic: Traffic;
}

export class Inbound implements AckWriter {
  readonly #options: InboundOptions;
  readonly #core: Core;
  readonly #transport: Transport;
  readonly #publisher: Publisher;
  readonly #clientId: string;
  readonly #version5: boolean;
  readonly #durable: boolean;
  readonly #acks: AckQueue;
  /** QoS 2 identifiers between PUBLISH and PUBREL. */
  #received: Set<number> | null;
  /** Those of them that came on an earlier connection. */
  readonly #receivedEarlier: Set<number> | null;
  /** QoS 1 messages whose acknowledgement waits. */
  #pendingCount = 0;
  #closed = false;

  constructor(options: InboundOptions, received: Set<number> | null) {
    this.#options = options;
    this.#core = options.core;
    this.#transport = options.transport;
    this.#publisher = options.publisher;
    this.#clientId = options.client.clientId;
    this.#version5 = options.client.version === 5;
    this.#durable = options.session.durable;
    this.#received = received;
    this.#receivedEarlier = received === null ? null : new Set(received);
    this.#acks = new AckQueue(this);
  }

  /** Acknowledgements that wait for the core. */
  get waitingCount(): number {
    return this.#acks.size;
  }

  /** The frame's topic is resolved. `refusal` is a reason not to take it, known before the core is asked. */
  publish(frame: PublishFrame, refusal: ReasonCode | 0): void {
    if (frame.qos !== 0) this.#publishAcknowledged(frame, refusal);
    else if (refusal !== 0) this.#core.counters.refused++;
    else this.#publishUnacknowledged(frame);
  }

  #publishAcknowledged(frame: PublishFrame, refusal: ReasonCode | 0): void {
    const { packetId } = frame;
    if (frame.qos === 2 && this.#received?.has(packetId) === true) {
      this.#repeat(packetId); // [MQTT-4.3.3-10]: it was taken, and is not delivered again.
      return;
    }
    if (this.#version5) this.#checkQuota();
    const type = frame.qos === 1 ? PacketType.PUBACK : PacketType.PUBREC;
    if (refusal !== 0) {
      this.#refuseNow(type, packetId, refusal, explainRefusal(refusal, frame.topic));
      return;
    }
    if (frame.qos === 2) {
      this.#received ??= new Set();
      this.#received.add(packetId);
      this.#state.addReceived(packetId);
    }
    let result: number;
    try {
      result =
        frame.delaySeconds === 0
          ? this.#publisher.publish(this.#arriving(frame), this.#acks, this.#acks.nextToken)
          : this.#holdBack(frame, this.#acks, this.#acks.nextToken);
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      this.#forget(type, packetId);
      this.#refuseNow(type, packetId, REASON_BY_CORE_ERROR[error.code], error.message);
      return;
    } finally {
      arrived.message = null;
    }
    const reason = result === NO_ROUTE && this.#version5 ? Reason.noMatchingSubscribers : Reason.success;
    if (result === PENDING) {
      this.#wait(type, packetId);
    } else if (frame.qos === 2 && this.#durable) {
      const token = this.#acks.nextToken;
      this.#wait(type, packetId);
      this.#core.whenStored((error) => this.#acks.finish(token, reason, error));
    } else {
      this.#answer(type, packetId, reason);
    }
  }

  /**
   * A PUBLISH that is no message but asks for something: `act` does it and returns null, or why not. Acknowledged when
   * what it did is stored.
   */
  perform(frame: PublishFrame, act: () => MqttError | null): void {
    const { qos, packetId } = frame;
    if (qos === 0) {
      act();
      return;
    }
    if (qos === 2 && this.#received?.has(packetId) === true) {
      this.#repeat(packetId);
      return;
    }
    if (this.#version5) this.#checkQuota();
    const type = qos === 1 ? PacketType.PUBACK : PacketType.PUBREC;
    const refusal = act();
    if (refusal !== null) {
      this.#refuseNow(type, packetId, refusal.reason, refusal.message);
      return;
    }
    if (qos === 2) {
      this.#received ??= new Set();
      this.#received.add(packetId);
      this.#state.addReceived(packetId);
    }
    const token = this.#acks.nextToken;
    this.#wait(type, packetId);
    this.#core.whenStored((error) => this.#acks.finish(token, 0, error));
  }

  /** PUBREL. `[MQTT-4.3.3-11]`: always answered, also for an identifier that is not known. */
  release(packetId: number): void {
    if (this.#received?.delete(packetId) !== true) {
      if (this.#version5) {
        this.#writeReason(PacketType.PUBCOMP, packetId, Reason.packetIdNotFound, '');
      } else this.#writeSuccess(PacketType.PUBCOMP, packetId);
      return;
    }
    this.#receivedEarlier?.delete(packetId);
    this.#state.removeReceived(packetId);
    if (!this.#durable) {
      this.#writeSuccess(PacketType.PUBCOMP, packetId);
      return;
    }
    // After PUBCOMP the client may use the identifier for another message, which must not look like this one.
    this.#core.whenStored((error) => {
      if (this.#closed) return;
      if (error === null) this.#writeSuccess(PacketType.PUBCOMP, packetId);
      else this.#options.events.fail(error);
    });
  }

  /** A receipt came for the oldest acknowledgement. */
  acknowledge(type: number, packetId: number, reason: number, error: CoreError | null): void {
    if (this.#closed) return;
    if (type === PacketType.PUBACK) this.#pendingCount--;
    if (error === null) {
      if (reason === 0) this.#writeSuccess(type, packetId);
      else this.#writeReason(type, packetId, reason, '');
      return;
    }
    this.#forget(type, packetId);
    this.#refuse(type, packetId, REASON_BY_CORE_ERROR[error.code], error.message);
  }

  close(): void {
    this.#closed = true;
    this.#acks.clear();
    this.#publisher.close();
  }

  get #state(): SessionState {
    return this.#options.state;
  }

  /** The message that is being published until `arrived` is told otherwise. */
  #arriving(frame: PublishFrame): Message {
    const message = this.#messageOf(frame);
    if (arrived.isWhole) arrived.message = message;
    return message;
  }

  #messageOf(frame: PublishFrame): Message {
    const message = messageFromMqtt(frame, frame.address, this.#clientId, this.#core.clock.nowMs());
    return frame.hasResponseTopic ? this.#lendReply(message) : message;
  }

  /** The client's right to publish to its response topic goes with the request, where it has that right. */
  #lendReply(message: Message): Message {
    const { access, replies } = this.#core;
    const replyLent =
      access.unrestricted ||
      replies.mayLend(this.#options.events.principal, message.properties.replyTo as string);
    return replyLent ? message.with({ replyLent }) : message;
  }

  /** It is as old as if it were published when it is due. */
  #holdBack(frame: PublishFrame, sink: AckQueue | null, token: number): PublishResult {
    const dueMs = this.#core.clock.nowMs() + frame.delaySeconds * 1000;
    const made = messageFromMqtt(frame, frame.address, this.#clientId, dueMs);
    const message = frame.hasResponseTopic ? this.#lendReply(made) : made;
    return this.#core.schedule.add(message, dueMs, this.#options.events.principal, sink, token);
  }

  #publishUnacknowledged(frame: PublishFrame): void {
    try {
      if (frame.delaySeconds === 0) this.#publisher.publish(this.#arriving(frame), null, 0);
      else this.#holdBack(frame, null, 0);
    } catch (error) {
      // Counted by the core; MQTT has no answer to a QoS 0 message.
      if (!(error instanceof CoreError)) throw error;
    } finally {
      arrived.message = null;
    }
  }

  /**
   * `[MQTT-3.3.4-9]`: a client that passes the Receive Maximum it was told is disconnected. MQTT 5.0 4.9: the count
   * begins anew with each connection.
   */
  #checkQuota(): void {
    const receivedNow = (this.#received?.size ?? 0) - (this.#receivedEarlier?.size ?? 0);
    if (this.#pendingCount + receivedNow >= this.#options.receiveMaximum) {
      throw new MqttError(
        Reason.receiveMaximumExceeded,
        `more than ${this.#options.receiveMaximum} unacknowledged messages`,
      );
    }
  }

  #wait(type: number, packetId: number): void {
    if (type === PacketType.PUBACK) this.#pendingCount++;
    this.#acks.wait(type, packetId);
  }

  /** Acknowledges now, or behind those that wait. */
  #answer(type: number, packetId: number, reason: number): void {
    if (this.#acks.size > 0) {
      const token = this.#acks.nextToken;
      this.#wait(type, packetId);
      this.#acks.finish(token, reason, null);
    } else if (reason === 0) this.#writeSuccess(type, packetId);
    else this.#writeReason(type, packetId, reason, '');
  }

  /** The PUBREC of a message that came before; it may still be owed, and then this one follows it. */
  #repeat(packetId: number): void {
    if (!this.#durable) {
      this.#answer(PacketType.PUBREC, packetId, Reason.success);
      return;
    }
    const token = this.#acks.nextToken;
    this.#wait(PacketType.PUBREC, packetId);
    this.#core.whenStored((error) => this.#acks.finish(token, 0, error));
  }

  #forget(type: number, packetId: number): void {
    if (type !== PacketType.PUBREC || this.#received?.delete(packetId) !== true) return;
    this.#state.removeReceived(packetId);
  }

  /** A refusal in the turn of the PUBLISH: in order behind what still waits. */
  #refuseNow(type: number, packetId: number, reason: ReasonCode, text: string): void {
    if (this.#acks.size > 0 && (this.#version5 || this.#isPassedOver(reason))) {
      this.#answer(type, packetId, this.#version5 ? reason : Reason.success);
    } else this.#refuse(type, packetId, reason, text);
  }

  /** 3: [MQTT-3.3.5-2]: whether a message that may not be published is acknowledged and dropped. */
  #isPassedOver(reason: ReasonCode): boolean {
    return (
      this.#options.refusedPublish === 'acknowledge' &&
      (reason === Reason.notAuthorized || reason === Reason.topicNameInvalid)
    );
  }

  #refuse(type: number, packetId: number, reason: ReasonCode, text: string): void {
    if (this.#version5) this.#writeReason(type, packetId, reason, text);
    else if (this.#isPassedOver(reason)) this.#writeSuccess(type, packetId);
    else this.#options.events.fail(new MqttError(reason, text));
  }

  #writeSuccess(type: number, packetId: number): void {
    const at = this.#transport.reserve(4);
    this.#options.traffic.sent(4);
    writeAck(this.#transport.buffer, at, type as typeof PacketType.PUBACK, packetId);
  }

  #writeReason(type: number, packetId: number, reason: number, text: string): void {
    const { client } = this.#options;
    const reasonString = client.wantsProblemInformation ? text : '';
    const ack = type as typeof PacketType.PUBACK;
    const packet = ackPacket(ack, packetId, reason, reasonString, client.packetBytesMax);
    this.#transport.write(packet);
    this.#options.traffic.sent(packet.length);
  }
}

function explainRefusal(refusal: ReasonCode, topic: string): string {
  if (refusal === Reason.payloadFormatInvalid) return 'the payload is not UTF-8';
  if (refusal === Reason.implementationSpecific) return 'the delay is longer than delaySecondsMax';
  return `'${topic}' is not for clients to publish to`;
}
