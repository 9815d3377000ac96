/**
 * From chunks of bytes to packets: finds where each begins and ends and hands it over in place. The first byte is
 * judged as soon as it is there and the length before anything is buffered for it. What a chunk leaves unfinished is
 * copied into a buffer that grows with what really came, never with what was announced. Used by one connection.
 * Source: MQTT 5.0 section 2.1.
 *
 * | at | bytes | field                                  |
 * |----|-------|----------------------------------------|
 * |  0 |     1 | type (7-4) and flags (3-0)             |
 * |  1 |   1-4 | remaining length, varint               |
 */

import { type MqttError, malformed, protocolError } from '../errors.ts';
import { PacketType, type ProtocolVersion } from './wire.ts';

/** What the decoder hands packets to. */
export interface PacketSink {
  /** `buffer[start, end)` is what follows the fixed header; it is not written to again and may be kept. */
  packet(first: number, buffer: Buffer, start: number, end: number): void;
  /** A packet is larger than `packetBytesMax`; throws. */
  tooLarge(bytes: number): never;
  /** About half of a chunk of 1 to 32 KiB was handed over, and more of it follows. */
  halfDone(): void;
}

const HEADER_BYTES_MAX = 5;
const TAIL_BYTES_MIN = 256;
/** Chunks in whose middle the sink is told: of fewer packets half are not worth a write, of more the output is large by itself. */
const HALVED_BYTES_MIN = 1_024;
const HALVED_BYTES_MAX = 32_768;

const FIRST_OK = 0;
const FIRST_MALFORMED = 1;
const FIRST_OUT_OF_TURN = 2;

/** What the next packet may be: CONNECT, those of an authentication, or all of a version. */
export type Expected = 'connect' | 'authentication' | ProtocolVersion;

/** For each first byte whether a client may begin a packet with it. `[MQTT-2.1.3-1]`, 3: `[MQTT-2.2.2-1]`. */
function firstBytes(expected: Expected): Uint8Array {
  const table = new Uint8Array(256).fill(FIRST_MALFORMED);
  const allow = (type: number, flags: number): void => {
    table[(type << 4) | flags] = FIRST_OK;
  };
  if (expected === 'connect') {
    allow(PacketType.CONNECT, 0);
    return table;
  }
  if (expected === 'authentication') {
    // [MQTT-3.1.2-30]
    table.fill(FIRST_OUT_OF_TURN, PacketType.CONNECT << 4);
    for (const type of [PacketType.AUTH, PacketType.DISCONNECT]) allow(type, 0);
    return table;
  }
  for (const type of [PacketType.CONNACK, PacketType.SUBACK, PacketType.UNSUBACK, PacketType.PINGRESP]) {
    table[type << 4] = FIRST_OUT_OF_TURN;
  }
  // [MQTT-3.1.0-2]
  table[PacketType.CONNECT << 4] = FIRST_OUT_OF_TURN;
  for (const type of [PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBCOMP]) allow(type, 0);
  for (const type of [PacketType.PINGREQ, PacketType.DISCONNECT]) allow(type, 0);
  for (const type of [PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE]) allow(type, 2);
  if (expected === 5) allow(PacketType.AUTH, 0);
  for (let flags = 0; flags < 16; flags++) {
    const qos = (flags >> 1) & 3;
    const duplicate = (flags & 8) !== 0;
    // [MQTT-3.3.1-4], [MQTT-3.3.1-2]
    if (qos !== 3 && !(duplicate && qos === 0)) allow(PacketType.PUBLISH, flags);
  }
  if (expected === 3) {
    // In MQTT 3.1 SUBSCRIBE, UNSUBSCRIBE and PUBREL have QoS 1 and may carry DUP.
    for (const type of [PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE]) allow(type, 2 | 8);
  }
  return table;
}

const FIRST_BYTES: Readonly<Record<Expected, Uint8Array>> = {
  connect: firstBytes('connect'),
  authentication: firstBytes('authentication'),
  3: firstBytes(3),
  4: firstBytes(4),
  5: firstBytes(5),
};

export class Decoder {
  /** Bytes of one whole packet. */
  packetBytesMax: number;
  readonly #sink: PacketSink;
  #firstBytes: Uint8Array = FIRST_BYTES.connect;
  /** The packet that a chunk left unfinished; null when there is none. */
  #tail: Buffer | null = null;
  #tailBytes = 0;
  /** Bytes of the whole unfinished packet, 0 while its header is not complete. */
  #tailTotal = 0;
  /** Chunks that came while held, with where to go on in the first. */
  #held: Buffer[] | null = null;
  #heldAt = 0;
  #stopped = false;
  /** Set by `headerOf`: where the body begins. */
  #bodyAt = 0;

  constructor(sink: PacketSink, packetBytesMax: number) {
    this.#sink = sink;
    this.packetBytesMax = packetBytesMax;
  }

  /** From now on these packets are expected, and no CONNECT. */
  speak(expected: Expected): void {
    this.#firstBytes = FIRST_BYTES[expected];
  }

  /** What comes is kept. */
  get isHeld(): boolean {
    return this.#held !== null;
  }

  /** Keeps what comes until `release`. Also from inside `packet`. */
  hold(): void {
    this.#held ??= [];
  }

  /** Goes on with what was kept. */
  release(): void {
    const held = this.#held;
    let at = this.#heldAt;
    this.#held = null;
    this.#heldAt = 0;
    if (held === null) return;
    for (const [index, chunk] of held.entries()) {
      this.#feed(chunk, at);
      at = 0;
      if (this.#held !== null) {
        // Held again: what is left of this chunk was kept by the run itself, the others follow it.
        (this.#held as Buffer[]).push(...held.slice(index + 1));
        return;
      }
    }
  }

  /** Nothing is handed over any more and everything is forgotten. */
  stop(): void {
    this.#stopped = true;
    this.#tail = null;
    this.#tailBytes = 0;
    this.#held = null;
  }

  /** Throws MqttError as soon as something cannot be right. */
  feed(chunk: Buffer): void {
    if (this.#held !== null) this.#held.push(chunk);
    else this.#feed(chunk, 0);
  }

  #feed(chunk: Buffer, from: number): void {
    let at = from;
    if (this.#tail !== null) {
      at = this.#completeTail(chunk, at);
      if (at < 0) return;
    }
    this.#run(chunk, at);
  }

  #run(chunk: Buffer, from: number): void {
    const end = chunk.length;
    const bytes = end - from;
    let half = bytes >= HALVED_BYTES_MIN && bytes <= HALVED_BYTES_MAX ? from + (bytes >> 1) : end;
    let at = from;
    while (at < end) {
      if (this.#stopped) return;
      if (this.#held !== null) {
        this.#held.unshift(chunk);
        this.#heldAt = at;
        return;
      }
      if (at >= half) {
        half = end;
        this.#sink.halfDone();
      }
      const total = this.#headerOf(chunk, at, end);
      if (total === 0 || at + total > end) {
        this.#keepTail(chunk, at, total);
        return;
      }
      this.#sink.packet(chunk[at] as number, chunk, this.#bodyAt, at + total);
      at += total;
    }
  }

  /** Bytes of the whole packet that begins at `at`, 0 while that cannot be said. */
  #headerOf(buffer: Buffer, at: number, end: number): number {
    const first = buffer[at] as number;
    if (this.#firstBytes[first] !== FIRST_OK) throw refusedFirstByte(first, this.#firstBytes);
    let next = at + 1;
    if (next >= end) return 0;
    let byte = buffer[next++] as number;
    let length = byte & 0x7f;
    if (byte >= 0x80) {
      let shift = 7;
      for (;;) {
        if (next >= end) return 0;
        byte = buffer[next++] as number;
        length |= (byte & 0x7f) << shift;
        if (byte < 0x80) break;
        shift += 7;
        if (shift === 28) throw malformed('the remaining length takes more than four bytes');
      }
      // [MQTT-1.5.5-1]
      if (byte === 0) throw malformed('the remaining length is longer than needed');
    }
    const total = next - at + length;
    if (total > this.packetBytesMax) this.#sink.tooLarge(total);
    this.#bodyAt = next;
    return total;
  }

  #keepTail(chunk: Buffer, at: number, total: number): void {
    const bytes = chunk.length - at;
    // A new buffer each time: messages refer to the packets that they came in.
    const capacity = total === 0 ? HEADER_BYTES_MAX : Math.min(total, Math.max(bytes * 2, TAIL_BYTES_MIN));
    const tail = Buffer.allocUnsafeSlow(capacity);
    chunk.copy(tail, 0, at);
    this.#tail = tail;
    this.#tailBytes = bytes;
    this.#tailTotal = total;
  }

  /** Adds what is missing, hands the packet over, and returns where the chunk goes on; -1 when it is used up. */
  #completeTail(chunk: Buffer, from: number): number {
    let at = from;
    let tail = this.#tail as Buffer;
    while (this.#tailTotal === 0) {
      if (at === chunk.length) return -1;
      tail[this.#tailBytes++] = chunk[at++] as number;
      this.#tailTotal = this.#headerOf(tail, 0, this.#tailBytes);
    }
    const total = this.#tailTotal;
    const taken = Math.min(total - this.#tailBytes, chunk.length - at);
    if (this.#tailBytes + taken > tail.length) {
      const grown = Buffer.allocUnsafeSlow(
        Math.min(total, Math.max(2 * (this.#tailBytes + taken), TAIL_BYTES_MIN)),
      );
      tail.copy(grown, 0, 0, this.#tailBytes);
      tail = grown;
      this.#tail = grown;
    }
    chunk.copy(tail, this.#tailBytes, at, at + taken);
    this.#tailBytes += taken;
    at += taken;
    if (this.#tailBytes < total) return -1;
    this.#tail = null;
    this.#tailBytes = 0;
    this.#headerOf(tail, 0, total);
    this.#sink.packet(tail[0] as number, tail, this.#bodyAt, total);
    return at;
  }
}

function refusedFirstByte(first: number, table: Uint8Array): MqttError {
  const type = first >> 4;
  if (table === FIRST_BYTES.connect) return protocolError('the first packet is not CONNECT'); // [MQTT-3.1.0-1]
  if (table === FIRST_BYTES.authentication && table[first] === FIRST_OUT_OF_TURN) {
    return protocolError(`a packet of type ${type} before authentication is done`);
  }
  if (table[first] === FIRST_OUT_OF_TURN) {
    if (type === PacketType.CONNECT) return protocolError('a second CONNECT');
    return protocolError(`a client does not send packets of type ${type}`);
  }
  if (type === 0) return malformed('there is no packet of type 0');
  return malformed(`flags ${first & 0x0f} are not those of packets of type ${type}`);
}
