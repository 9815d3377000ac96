/**
 * The stream between a socket and the MQTT client library. It cuts what comes into packets: PUBLISH and the packets that
 * acknowledge it go to whoever handles messages, as bytes; everything else (CONNACK, SUBACK, PINGRESP, DISCONNECT) goes
 * on to the library. What either of them writes leaves in one system call for each turn.
 *
 * The library would take one message at a time and wait with the next until that one is acknowledged, which is once for
 * each sync of the disk; it would lose the order of user properties, and empty ones. So messages pass it by. While no
 * handler takes more, the socket is not read: that is the whole of back-pressure.
 *
 * | packet      | bytes                                                                             |
 * |-------------|-----------------------------------------------------------------------------------|
 * | first byte  | 7-4 type, 3-0 flags                                                               |
 * | length      | varint of 1 to 4 bytes: how many follow                                           |
 */

import { Duplex } from 'node:stream';
import { PacketType } from './codec.ts';

const NOTHING = Buffer.alloc(0);
const PINGRESP = Buffer.from([PacketType.PINGRESP << 4, 0]);
const LENGTH_BYTES_MAX = 4;

/** Who gets the packets of messages. */
export interface MessageHandler {
  /** Takes another packet now. While not, the stream rests until `rested` is called. */
  readonly isReady: boolean;
  /** One packet: its first byte, and where in `buffer` stands what follows its length. May throw. */
  packet(first: number, buffer: Buffer, start: number, end: number): void;
  /** Everything that has come was handed over. */
  turned(): void;
}

export class PacketStream extends Duplex {
  readonly #socket: Duplex;
  readonly #packetBytesMax: number;
  #handler: MessageHandler | null = null;
  /** What came and is not cut yet, and how many bytes it takes until that is worth trying. */
  #chunks: Buffer[] = [];
  #chunkBytes = 0;
  #neededBytes = 2;
  #resting = false;

  constructor(socket: Duplex, packetBytesMax: number) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    this.#packetBytesMax = packetBytesMax;
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  /** From now on messages go there; until then the first one that comes waits, and what is behind it. */
  handle(handler: MessageHandler): void {
    this.#handler = handler;
    this.rested();
  }

  /** The handler may be ready again. */
  rested(): void {
    if (!this.#resting || this.destroyed || this.#handler?.isReady !== true) return;
    this.#resting = false;
    this.#cut();
    if (!this.#resting) this.#socket.resume();
  }

  /** The library has asked whether the other side is there. Whoever is not listened to cannot be heard. */
  pinged(): void {
    if (this.#resting) this.push(PINGRESP);
  }

  override _read(): void {
    // What goes to the library is small and rare; the socket rests for messages only.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, (error) => done(error));
  }

  override _writev(
    chunks: readonly { readonly chunk: Buffer }[],
    done: (error?: Error | null) => void,
  ): void {
    this.#socket.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), (error) => done(error));
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#chunks = [];
    this.#socket.destroy();
    done(error);
  }

  #received(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#chunkBytes += chunk.length;
    if (!this.#resting && this.#chunkBytes >= this.#neededBytes) this.#cut();
  }

  #cut(): void {
    const buffer = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    let at = 0;
    try {
      for (;;) {
        const next = this.#cutOne(buffer, at);
        if (next === at) break;
        at = next;
      }
      this.#handler?.turned();
    } catch (error) {
      this.destroy(error as Error);
      return;
    }
    const rest = at === buffer.length ? NOTHING : buffer.subarray(at);
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#chunkBytes = rest.length;
  }

  /** Deals with the packet at `at` and returns where the next one begins; `at` where it cannot go on now. */
  #cutOne(buffer: Buffer, at: number): number {
    const left = buffer.length - at;
    this.#neededBytes = 2;
    if (left < 2 || this.destroyed) return at;
    let length = 0;
    let lengthBytes = 0;
    for (;;) {
      if (lengthBytes === LENGTH_BYTES_MAX) throw new Error('the length of a packet is malformed');
      if (1 + lengthBytes === left) {
        this.#neededBytes = left + 1;
        return at;
      }
      const byte = buffer[at + 1 + lengthBytes] as number;
      length += (byte & 0x7f) * 2 ** (7 * lengthBytes++);
      if (byte < 0x80) break;
    }
    const total = 1 + lengthBytes + length;
    if (total > this.#packetBytesMax) {
      throw new Error(`a packet of ${total} bytes came, which is more than ${this.#packetBytesMax}`);
    }
    if (left < total) {
      this.#neededBytes = total;
      return at;
    }
    const first = buffer[at] as number;
    const type = first >> 4;
    const end = at + total;
    if (type < PacketType.PUBLISH || type > PacketType.PUBCOMP) this.push(buffer.subarray(at, end));
    else if (this.#handler?.isReady === true) this.#handler.packet(first, buffer, end - length, end);
    else {
      this.#resting = true;
      this.#socket.pause();
      return at;
    }
    return end;
  }
}
