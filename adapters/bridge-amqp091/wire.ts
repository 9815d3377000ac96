/**
 * What this driver needs of amqplib beside its interface: the properties of messages as bytes. Its own decoder forgets the
 * types of numbers, the order of names and integers beyond 2^53, and ends the connection at a tag that it does not know; its
 * encoder guesses types. With the bytes the mappings of the server do the work, and every header comes back as it was.
 * The library's version is pinned; `tapOf` checks that it is built as expected. Called by `link.ts` once for each connection.
 *
 * | size | publish, method frame            | size | content header frame     |
 * |------|----------------------------------|------|--------------------------|
 * |    1 | 1                                |    1 | 2                        |
 * |    2 | channel                          |    2 | channel                  |
 * |    4 | size of the payload              |    4 | size of the payload      |
 * |    4 | class 60, method 40              |    4 | class 60, weight 0       |
 * |    2 | 0                                |    8 | size of the body         |
 * |  1+n | exchange                         |    n | flags and properties     |
 * |  1+n | key                              |    1 | 0xCE                     |
 * |    1 | 1 where it is mandatory          |      |                          |
 * |    1 | 0xCE                             |      |                          |
 */

import { Buffer } from 'node:buffer';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Channel, ChannelModel } from 'amqplib';
import { LinkError } from '../../src/outside.ts';

const BASIC_CLASS = 60;
const BASIC_PUBLISH = 0x003c_0028;
const METHOD_FRAME = 1;
const HEADER_FRAME = 2;
const BODY_FRAME = 3;
const FRAME_END = 0xce;
/** Type, channel and size before the payload; the end after it. */
const FRAME_HEAD_BYTES = 7;
const FRAME_BYTES = FRAME_HEAD_BYTES + 1;
/** Class, weight and body size in front of the properties. */
const HEADER_HEAD_BYTES = 12;
/** Frames of small messages leave together in pieces of about this size. */
const WRITE_BYTES = 64 * 1024;

const CONTENT = Symbol('content');
const OVERSIZE = Symbol('oversize');

interface Frame {
  readonly id?: number;
  readonly channel: number;
  /** Of a content header: bytes of the body that follows. */
  size?: number;
  readonly fields?: { [CONTENT]?: Buffer; [OVERSIZE]?: number };
  /** Of a body frame. */
  readonly content?: Buffer;
}

/** The parts of the library's connection that are used here. */
interface Insides {
  /** What came and is not decoded yet. */
  readonly rest: Buffer;
  recvFrame(): unknown;
  readonly stream: { emit(event: 'readable'): boolean };
  /** Asked and unset for each heartbeat that is due from the broker. */
  recvSinceLastCheck: boolean;
  readonly channels: readonly ({ readonly buffer: { write(bytes: Buffer): boolean } } | null)[];
  readonly frameMax: number;
  readonly expectSocketClose: boolean;
  sentSinceLastCheck: boolean;
}

/**
 * The library, loaded when the first bridge needs it. What its connection says between the end of the handshake and the
 * moment it is handed out would be an error without a listener, which ends the process: here it has one.
 */
export async function loadAmqplib(): Promise<typeof import('amqplib')> {
  const amqplib = await import('amqplib');
  const require = createRequire(import.meta.url);
  const path = join(dirname(require.resolve('amqplib')), 'lib/connection.js');
  const { prototype } = (require(path) as { Connection: { prototype: Starting } }).Connection;
  const { acceptLoop } = prototype;
  if (typeof acceptLoop !== 'function') throw unsupported();
  if (!guarded.has(prototype)) {
    guarded.add(prototype);
    prototype.acceptLoop = function (this: Starting) {
      this.on('error', () => {});
      acceptLoop.call(this);
    };
  }
  return amqplib;
}

interface Starting {
  on(event: 'error', listener: () => void): void;
  acceptLoop(this: Starting): void;
}

const guarded = new WeakSet<Starting>();

function unsupported(): LinkError {
  return new LinkError('protocol', 'this version of amqplib is not supported');
}

/** One connection's frames. */
export class Tap {
  readonly #insides: Insides;
  #bodyBytesMax = Number.POSITIVE_INFINITY;
  #isResting = false;
  /** By channel: bytes of a body that is not gathered, and still to come. */
  readonly #unwanted = new Map<number, number>();

  constructor(insides: Insides) {
    this.#insides = insides;
    const receive = insides.recvFrame;
    insides.recvFrame = () => {
      while (!this.#isResting) {
        const frame = receiveWithContent(insides, receive);
        if (frame === false || !this.#isUnwanted(frame as Frame)) return frame;
      }
      return false;
    };
    // Nobody knows what was not read: while it rests the broker is taken to be there.
    let hasReceived = insides.recvSinceLastCheck;
    Object.defineProperty(insides, 'recvSinceLastCheck', {
      get: () => this.#isResting || hasReceived,
      set: (value: boolean) => {
        hasReceived = value;
      },
    });
  }

  /** Nothing is read of what the broker says, be it what it may, until `resume`: it fills its socket and waits. */
  rest(): void {
    this.#isResting = true;
  }

  resume(): void {
    if (!this.#isResting) return;
    this.#isResting = false;
    this.#insides.recvSinceLastCheck = true;
    if (!this.hasEnded) this.#insides.stream.emit('readable');
  }

  /** From here on the bodies of larger messages are not gathered: `oversizeOf` tells of such a message. */
  limitBodies(bytesMax: number): void {
    this.#bodyBytesMax = bytesMax;
  }

  /** The library is told that a body that is too large is empty, and does not see the frames that bring it. */
  #isUnwanted(frame: Frame): boolean {
    const { channel, content, fields, size = 0 } = frame;
    if (fields !== undefined && size > this.#bodyBytesMax) {
      this.#unwanted.set(channel, size);
      fields[OVERSIZE] = size;
      frame.size = 0;
      return false;
    }
    const left = this.#unwanted.get(channel);
    if (left === undefined || content === undefined) return false;
    if (left > content.length) this.#unwanted.set(channel, left - content.length);
    else this.#unwanted.delete(channel);
    return true;
  }

  /** It ended before anybody could hear of it, or since. */
  get hasEnded(): boolean {
    return this.#insides.expectSocketClose;
  }

  /** The longest properties that one frame holds. */
  get contentBytesMax(): number {
    return this.#insides.frameMax - FRAME_BYTES - HEADER_HEAD_BYTES;
  }

  /** A writer of messages to a channel. Throws where the channel is closed. */
  writerOf(channel: Channel): MessageWriter {
    const { ch } = channel as unknown as { readonly ch: number };
    const write = (bytes: Buffer): boolean => {
      const open = this.#insides.channels[ch];
      if (open === null || open === undefined) throw new LinkError('closed', 'the channel is closed');
      this.#insides.sentSinceLastCheck = true;
      return open.buffer.write(bytes);
    };
    return new MessageWriter(ch, this.#insides.frameMax - FRAME_BYTES, write);
  }
}

/** Throws LinkError where the library is another than the one this was written for. */
export function tapOf(model: ChannelModel): Tap {
  const insides = model.connection as unknown as Insides;
  const isKnown =
    Buffer.isBuffer(insides.rest) &&
    typeof insides.recvFrame === 'function' &&
    typeof insides.recvSinceLastCheck === 'boolean' &&
    typeof insides.stream?.emit === 'function' &&
    Array.isArray(insides.channels) &&
    typeof insides.frameMax === 'number';
  if (!isKnown) throw unsupported();
  return new Tap(insides);
}

/** The properties of a delivered or returned message, as they came; null where they were not kept. */
export function contentOf(message: { readonly properties: object }): Buffer | null {
  return (message.properties as { readonly [CONTENT]?: Buffer })[CONTENT] ?? null;
}

/** Bytes of the body of a message that came and was too large to be gathered; null for every other. */
export function oversizeOf(message: { readonly properties: object }): number | null {
  return (message.properties as { readonly [OVERSIZE]?: number })[OVERSIZE] ?? null;
}

/** The library calls itself when a frame is not whole, so the innermost call has seen all of it. */
function receiveWithContent(insides: Insides, receive: () => unknown): unknown {
  const before = insides.rest;
  let frame: unknown;
  try {
    frame = receive.call(insides);
  } catch (error) {
    // It is past the frame and did not understand the properties: that is for the mapping to judge.
    const bytes = before.subarray(0, Math.max(0, before.length - insides.rest.length));
    if (bytes.length < FRAME_BYTES + HEADER_HEAD_BYTES || bytes[0] !== HEADER_FRAME) throw error;
    const size = Number(bytes.readBigInt64BE(FRAME_HEAD_BYTES + 4));
    frame = { id: BASIC_CLASS, channel: bytes.readUInt16BE(1), size, fields: {} };
  }
  const { id, fields } = frame as Frame;
  if (id === BASIC_CLASS && fields !== undefined && fields[CONTENT] === undefined) {
    const end = before.length - insides.rest.length - 1;
    fields[CONTENT] = before.subarray(FRAME_HEAD_BYTES + HEADER_HEAD_BYTES, end);
  }
  return frame;
}

/** Gathers the frames of messages and writes many of them at once. */
export class MessageWriter {
  readonly #channel: number;
  readonly #payloadBytesMax: number;
  readonly #write: (bytes: Buffer) => boolean;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #hasRoom = true;

  constructor(channel: number, payloadBytesMax: number, write: (bytes: Buffer) => boolean) {
    this.#channel = channel;
    this.#payloadBytesMax = payloadBytesMax;
    this.#write = write;
  }

  /** `route`: exchange and key as two short strings; `content`: flags and properties. */
  publish(route: Uint8Array, mandatory: boolean, content: Uint8Array, body: Uint8Array): void {
    const method = Buffer.alloc(6);
    method.writeUInt32BE(BASIC_PUBLISH);
    this.#add(METHOD_FRAME, [method, route, Buffer.of(mandatory ? 1 : 0)]);
    const header = Buffer.alloc(HEADER_HEAD_BYTES);
    header.writeUInt16BE(BASIC_CLASS);
    header.writeBigUInt64BE(BigInt(body.length), 4);
    this.#add(HEADER_FRAME, [header, content]);
    for (let at = 0; at < body.length; at += this.#payloadBytesMax) {
      this.#add(BODY_FRAME, [body.subarray(at, at + this.#payloadBytesMax)]);
    }
    if (this.#bytes >= WRITE_BYTES) this.#leave();
  }

  /** Writes what is left; false: it is more than the socket takes now. */
  flush(): boolean {
    this.#leave();
    const hadRoom = this.#hasRoom;
    this.#hasRoom = true;
    return hadRoom;
  }

  #add(type: number, payload: readonly Uint8Array[]): void {
    const size = payload.reduce((sum, piece) => sum + piece.length, 0);
    const head = Buffer.alloc(FRAME_HEAD_BYTES);
    head[0] = type;
    head.writeUInt16BE(this.#channel, 1);
    head.writeUInt32BE(size, 3);
    this.#pieces.push(head, ...payload, END);
    this.#bytes += size + FRAME_BYTES;
  }

  #leave(): void {
    if (this.#bytes === 0) return;
    const bytes = Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#bytes = 0;
    if (!this.#write(bytes)) this.#hasRoom = false;
  }
}

const END = Buffer.of(FRAME_END);
