/**
 * Everything on its way to one client: the consumer of its session. Holds what is unacknowledged by packet
 * identifier, the credit that is not granted to the core, and the topic aliases. Deliveries are written at once into
 * the transport; where that holds too much, QoS 0 is dropped and counted and the credit for QoS 1 and 2 withdrawn, as
 * it is where what is unacknowledged is too much.
 * Source: MQTT 5.0 sections 4.3, 4.4, 4.9.
 */

import {
  type Consumer,
  type Core,
  type Delivery,
  type DeliveryOptions,
  LastAnswer,
  type Message,
  type Reliability,
  type Session,
  type Subscription,
} from '../../../src/core/index.ts';
import type { Transport } from '../../../src/host.ts';
import { ackPacket, writeAck } from '../codec/control.ts';
import type { PublishEncoder } from '../codec/publish-encoder.ts';
import { PacketType } from '../codec/wire.ts';
import { protocolError, Reason } from '../errors.ts';
import { AliasesOut } from './aliases.ts';
import type { Client, ConnectionEvents } from './client.ts';
import { PacketTable } from './packet-table.ts';
import { packetIdFromOffset, type SessionState } from './session-state.ts';
import type { Traffic } from './traffic.ts';

/** What shares the connection with its session: identifiers, quota and room in the transport. */
export interface Guests {
  /** What the client was sent and is to settle otherwise than by the acknowledgement of the packet. */
  readonly heldCount: number;
  /** CONNACK is written and the session has sent what it had to. */
  opened(): void;
  /** There is room again, in the quota or in the transport. */
  roomed(): void;
  closed(): void;
}

/** Credit that is kept from the session where there are guests, so that not each of them has to take it back. */
const GUEST_CREDIT = 32;

/** Credit is granted in steps of this, so that one grant does not overrun the transport's bound by much. */
const CREDIT_STEP = 64;
const PACKET_IDS = 65_535;

export interface OutboundOptions {
  readonly core: Core;
  readonly encoder: PublishEncoder;
  readonly transport: Transport;
  readonly client: Client;
  readonly session: Session;
  readonly state: SessionState;
  readonly outputBytesSoft: number;
  readonly inflightBytesMax: number;
  readonly events: ConnectionEvents;
  readonly traffic: Traffic;
}

export class Outbound implements Consumer {
  readonly #options: OutboundOptions;
  readonly #core: Core;
  readonly #encoder: PublishEncoder;
  readonly #transport: Transport;
  readonly #version5: boolean;
  readonly #packetBytesMax: number;
  readonly #outputBytesSoft: number;
  readonly #inflightBytesMax: number;
  readonly #aliases: AliasesOut | null;
  readonly #state: SessionState;
  readonly #rights: LastAnswer;
  /** Unacknowledged PUBLISH packets. */
  readonly #inflight = new PacketTable();
  /** Bytes of their bodies: who acknowledges nothing must not hold the memory of all. */
  #inflightBytes = 0;
  /** PUBREL sent or due; the value says whether its message was sent on this connection and so holds credit. */
  #released: Map<number, boolean> | null;
  #subscription: Subscription | null = null;
  /** Credit that the core does not have. */
  #credit = 0;
  /** Credit held back because identifiers are short. */
  #heldBack = 0;
  #open = false;
  /** Nothing is begun any more. */
  #quiet = false;
  #settling: Delivery[] | null = null;
  #throttling = false;
  #guests: Guests | null = null;
  /** Whose turn it is: the other's than the one whose message was settled last. */
  #guestsFirst = false;
  #guestsInflight = 0;
  #guestId = 0;
  #borrowed = false;

  constructor(options: OutboundOptions, released: Map<number, boolean> | null) {
    const { client } = options;
    this.#options = options;
    this.#core = options.core;
    this.#encoder = options.encoder;
    this.#transport = options.transport;
    this.#version5 = client.version === 5;
    this.#packetBytesMax = client.packetBytesMax;
    this.#outputBytesSoft = options.outputBytesSoft;
    this.#inflightBytesMax = options.inflightBytesMax;
    this.#aliases = client.topicAliasMaximumOut > 0 ? new AliasesOut(client.topicAliasMaximumOut) : null;
    this.#state = options.state;
    this.#rights = new LastAnswer(options.core.access, 'read');
    this.#released = released;
  }

  /** Messages that the client has to acknowledge, or to settle in another way. 0: none. */
  get underWayCount(): number {
    return this.#inflight.size + (this.#guests?.heldCount ?? 0);
  }

  get inflightCount(): number {
    return this.#inflight.size + (this.#released?.size ?? 0);
  }

  /** Takes the session over. Nothing is delivered before `open`. */
  attach(): void {
    this.#subscription = this.#options.session.attach(this);
  }

  /** CONNACK is written. `[MQTT-4.4.0-1]`: PUBREL and PUBLISH are sent again, with their identifiers. */
  open(): void {
    this.#open = true;
    if (this.#released !== null) for (const id of this.#released.keys()) this.#writeRelease(id);
    // Every message under way needs an identifier that no PUBREL of an earlier connection still has.
    const { inflightMax } = this.#options.client;
    this.#credit = Math.min(inflightMax, PACKET_IDS - (this.#released?.size ?? 0));
    this.#heldBack = inflightMax - this.#credit;
    this.grant();
    this.#guests?.opened();
  }

  /** The gateway stops: what is under way may be acknowledged, and nothing more is begun. */
  quiesce(): void {
    this.#quiet = true;
    this.#credit += this.#subscription?.withdraw() ?? 0;
  }

  close(): void {
    this.#open = false;
    this.#inflight.clear();
    this.#inflightBytes = 0;
    this.#subscription = null;
    this.#guests?.closed();
  }

  receive(guests: Guests): void {
    this.#guests = guests;
  }

  /**
   * Writes a message that does not come from the session, with the reliability of `message` itself; `delivery`, null
   * for 0, is settled by the client's acknowledgement, and its offset is not a number. `full`: not now, but after the next `roomed`. `too-large`:
   * never to this client.
   */
  sendGuest(
    message: Message,
    options: DeliveryOptions,
    delivery: Delivery | null,
  ): 'sent' | 'full' | 'too-large' {
    if (!this.#open || this.#quiet || this.#transport.pendingBytes > this.#outputBytesSoft) return 'full';
    if (delivery !== null && this.#isFull) return 'full';
    if (delivery === null) return this.#write(message, options, 0, false, 0) ? 'sent' : 'too-large';
    if (this.#credit === 0 && !this.#borrow()) return 'full';
    // From the other end than those of the session, which follow each other.
    do this.#guestId = this.#guestId <= 1 ? PACKET_IDS : this.#guestId - 1;
    while (this.#isUsed(this.#guestId));
    if (!this.#write(message, options, message.reliability, false, this.#guestId)) return 'too-large';
    this.#credit--;
    this.#guestsInflight++;
    this.#inflight.add(this.#guestId, delivery);
    this.#inflightBytes += message.body.length;
    return 'sent';
  }

  cancelled(reason: 'deleted' | 'expired' | 'displaced'): void {
    // Also before `open`: a connection is not accepted into a session that is gone.
    if (this.#subscription !== null) this.#options.events.sessionGone(reason);
  }

  deliver(message: Message, options: DeliveryOptions, delivery: Delivery | null): void {
    if (!this.#rights.may(this.#options.client.principal, message.address)) {
      this.#passOver(delivery);
      return;
    }
    if (delivery !== null) this.#deliverReliably(message, options, delivery);
    else if (
      !this.#open ||
      this.#transport.pendingBytes > this.#outputBytesSoft ||
      !this.#write(message, options, 0, false, 0)
    ) {
      this.#core.counters.dropped++;
    }
  }

  /** Apart from `deliver`, as V8 compiles only so much into one piece: so QoS 0 goes through in it. */
  #deliverReliably(message: Message, options: DeliveryOptions, delivery: Delivery): void {
    const qos = qosOf(delivery);
    const id = this.#takeId(delivery);
    if (qos === 2 && this.#options.session.durable) {
      this.#deliverStored(message, options, delivery, id);
      return;
    }
    if (this.#write(message, options, qos, delivery.redelivered, id)) {
      this.#inflight.add(id, delivery);
      this.#inflightBytes += message.body.length;
      if (this.#isFull) this.#throttle();
    } else {
      // [MQTT-3.1.2-25]: too large for the client counts as sent.
      this.#passOver(delivery);
    }
  }

  /**
   * `[MQTT-4.3.3-8]`: a client may take a message as soon as it has the PUBLISH. Were the gateway to lose the message in a
   * crash after that, its publisher would send it again, and it would come under another identifier.
   */
  #deliverStored(message: Message, options: DeliveryOptions, delivery: Delivery, id: number): void {
    this.#inflight.add(id, delivery);
    this.#inflightBytes += message.body.length;
    if (this.#isFull) this.#throttle();
    this.#core.whenStored((error) => {
      // It may have been taken back, and be under way again.
      if (!this.#open || this.#inflight.get(id) !== delivery) return;
      if (error !== null) {
        this.#options.events.fail(error);
        return;
      }
      if (this.#write(message, options, 2, delivery.redelivered, id)) return;
      this.#inflight.remove(id);
      this.#inflightBytes -= message.body.length;
      this.#passOver(delivery);
    });
  }

  mayHave(address: string): boolean {
    return this.#rights.may(this.#options.client.principal, address);
  }

  /** What the client does not get counts as had by it; it is settled when the core is done here. */
  #passOver(delivery: Delivery | null): void {
    this.#core.counters.dropped++;
    if (delivery !== null) this.#settleLater(delivery);
  }

  /** PUBACK. */
  acknowledged(id: number, reason: number): void {
    const delivery = this.#inflight.get(id);
    if (delivery === null) return;
    if (qosOf(delivery) !== 1) throw protocolError(`PUBACK for packet ${id}, which has QoS 2`);
    this.#inflight.remove(id);
    this.#inflightBytes -= delivery.message.body.length;
    this.#credit++;
    this.#settle(delivery, reason);
  }

  /** PUBREC. `[MQTT-4.3.3-4]`: a failure ends the exchange. */
  received(id: number, reason: number): void {
    const delivery = this.#inflight.get(id);
    if (delivery === null) {
      if (this.#released?.has(id) === true) this.#writeRelease(id);
      else this.#writeUnknownRelease(id);
      return;
    }
    if (qosOf(delivery) !== 2) throw protocolError(`PUBREC for packet ${id}, which has QoS 1`);
    this.#inflight.remove(id);
    this.#inflightBytes -= delivery.message.body.length;
    if (reason >= 0x80) {
      this.#credit++;
      this.#settle(delivery, reason);
      return;
    }
    this.#released ??= new Map();
    this.#released.set(id, true);
    this.#state.addReleased(id);
    this.#settle(delivery, reason);
    if (!this.#options.session.durable) {
      this.#writeRelease(id);
      return;
    }
    // The client forgets the identifier with PUBREL: from then on we must never send the message again.
    this.#core.whenStored((error) => {
      if (!this.#open || this.#released?.has(id) !== true) return;
      if (error === null) this.#writeRelease(id);
      else this.#options.events.fail(error);
    });
  }

  /** PUBCOMP. */
  completed(id: number): void {
    const counted = this.#released?.get(id);
    if (counted === undefined) return;
    this.#released?.delete(id);
    this.#state.removeReleased(id);
    // [MQTT-4.9.0-1]: the quota never rises above its first value.
    if (counted) this.#credit++;
    else if (this.#heldBack > 0) {
      this.#heldBack--;
      this.#credit++;
    }
  }

  /** Gives the core what credit there is, while the transport has room. */
  grant(): void {
    if (this.#quiet) return;
    const guests = this.#guests;
    if (guests === null) {
      this.#grantAbove(0);
      return;
    }
    // They take turns: who is always second would get nothing of a small quota.
    if (this.#guestsFirst) guests.roomed();
    const reserved = Math.min(GUEST_CREDIT, this.#options.client.inflightMax >> 1);
    this.#grantAbove(Math.max(0, reserved - this.#guestsInflight));
    guests.roomed();
  }

  #grantAbove(kept: number): void {
    while (this.#credit > kept && this.#subscription !== null && !this.#isFull) {
      const step = Math.min(this.#credit - kept, CREDIT_STEP);
      this.#credit -= step;
      this.#subscription.grant(step);
    }
  }

  get hasCredit(): boolean {
    return this.#credit > 0;
  }

  /** Nothing more for now: the client does not read, or does not acknowledge. */
  get #isFull(): boolean {
    return (
      this.#transport.pendingBytes > this.#outputBytesSoft || this.#inflightBytes > this.#inflightBytesMax
    );
  }

  #write(
    message: Message,
    options: DeliveryOptions,
    qos: Reliability,
    duplicate: boolean,
    id: number,
  ): boolean {
    // [MQTT-3.3.1-8], [MQTT-3.3.1-9], [MQTT-3.3.1-12], [MQTT-3.3.1-13]
    const retain = options.retained || (options.keepRetain && message.retain);
    if (this.#aliases === null && (!this.#version5 || options.subscriptionIds.length === 0)) {
      return this.#encoder.write(
        this.#transport,
        message,
        this.#version5,
        qos,
        retain,
        duplicate,
        id,
        this.#packetBytesMax,
      );
    }
    return this.#writeCopy(message, options, qos, retain, duplicate, id);
  }

  #writeCopy(
    message: Message,
    options: DeliveryOptions,
    qos: Reliability,
    retain: boolean,
    duplicate: boolean,
    id: number,
  ): boolean {
    const topicAlias = this.#aliases?.aliasOf(message.address) ?? 0;
    const aliasKnown = topicAlias !== 0 && this.#aliases?.known === true;
    const { subscriptionIds } = options;
    const written = this.#encoder.writeCopy(
      this.#transport,
      message,
      qos,
      retain,
      duplicate,
      id,
      this.#packetBytesMax,
      { subscriptionIds, topicAlias, aliasKnown },
    );
    if (written && topicAlias !== 0 && !aliasKnown) this.#aliases?.sent(message.address, topicAlias);
    return written;
  }

  /** Takes the session's credit back for a guest; what is left of it is given again when the core is done here. */
  #borrow(): boolean {
    this.#credit += this.#subscription?.withdraw() ?? 0;
    if (this.#credit === 0) return false;
    if (!this.#borrowed) {
      this.#borrowed = true;
      this.#core.clock.afterTurn(() => {
        this.#borrowed = false;
        this.grant();
      });
    }
    return true;
  }

  /** The identifier that goes with the offset, so that it is the same after a restart, or a free one. */
  #takeId(delivery: Delivery): number {
    const noted = this.#state.notedId(delivery.offset);
    if (noted !== 0 && !this.#isUsed(noted)) return noted;
    const wanted = packetIdFromOffset(delivery.offset);
    if (!this.#isUsed(wanted)) return wanted;
    let id = wanted;
    do id = (id % PACKET_IDS) + 1;
    while (this.#isUsed(id));
    this.#state.noteId(delivery.offset, id);
    return id;
  }

  #isUsed(id: number): boolean {
    return this.#inflight.get(id) !== null || this.#released?.has(id) === true;
  }

  #settle(delivery: Delivery, reason: number): void {
    if (this.#guests !== null) {
      const isGuest = Number.isNaN(delivery.offset);
      if (isGuest) this.#guestsInflight--;
      this.#guestsFirst = !isGuest;
    }
    this.#state.forgetId(delivery.offset);
    delivery.settle(reason >= 0x80 ? 'rejected' : 'accepted');
  }

  #settleLater(delivery: Delivery): void {
    if (this.#settling !== null) {
      this.#settling.push(delivery);
      return;
    }
    this.#settling = [delivery];
    this.#core.clock.afterTurn(() => {
      const settling = this.#settling ?? [];
      this.#settling = null;
      for (const each of settling) {
        this.#settle(each, 0);
        this.#credit++;
      }
      this.grant();
    });
  }

  /** Takes the credit back when the core is done here; `grant` gives it again when the transport is drained. */
  #throttle(): void {
    if (this.#throttling) return;
    this.#throttling = true;
    this.#core.clock.afterTurn(() => {
      this.#throttling = false;
      if (this.#subscription === null) return;
      if (this.#isFull) this.#credit += this.#subscription.withdraw();
    });
  }

  #writeRelease(id: number): void {
    const at = this.#transport.reserve(4);
    this.#options.traffic.sent(4);
    writeAck(this.#transport.buffer, at, PacketType.PUBREL, id);
  }

  #writeUnknownRelease(id: number): void {
    if (this.#version5) {
      const packet = ackPacket(PacketType.PUBREL, id, Reason.packetIdNotFound, '', this.#packetBytesMax);
      this.#transport.write(packet);
      this.#options.traffic.sent(packet.length);
    } else this.#writeRelease(id);
  }
}

/** `[MQTT-3.8.4-8]`: the lower of what the publisher asked and what was granted. Never 0 for a delivery. */
function qosOf(delivery: Delivery): Reliability {
  return Math.min(delivery.message.reliability, delivery.options.reliability) as Reliability;
}
