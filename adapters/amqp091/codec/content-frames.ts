/**
 * Writes messages to clients: method, content header and body frames in one piece into the transport's buffer,
 * so that a delivery costs one copy of its bytes and no object. Used for basic.deliver, basic.get-ok and
 * basic.return.
 *
 * | frame  | payload                                                                                          |
 * |--------|--------------------------------------------------------------------------------------------------|
 * | method | class 2, method 2, then deliver: consumer tag, delivery tag 8, redelivered 1, exchange, key;       |
 * |        | get-ok: delivery tag 8, redelivered 1, exchange, key, message count 4; return: code 2, text, exchange, key |
 * | header | class 2, weight 2 (zero), body bytes 8, property flags 2, properties                              |
 * | body   | as many as the agreed frame size asks for; none for an empty body                                 |
 */

import type { Transport } from '../../../src/host.ts';
import {
  FRAME_BODY,
  FRAME_END,
  FRAME_HEADER,
  FRAME_HEADER_BYTES,
  FRAME_METHOD,
  FRAME_OVERHEAD_BYTES,
} from './method-codec.ts';
import { BASIC_CLASS } from './methods.ts';

/** Bytes of a content header frame's payload before the property flags. */
export const CONTENT_PREFIX_BYTES = 12;
/** Below this many bytes a loop copies faster than a call into the engine. */
const LOOP_COPY_BYTES_MAX = 32;
/** From here on a body is handed to the transport as it is, between the heads of its frames. */
const UNCOPIED_BODY_BYTES_MIN = 16_384;

/** Exchange, key and properties of a message as they stand on the wire, in one or two buffers. */
export interface WireContent {
  readonly route: Uint8Array;
  readonly routeBytes: number;
  readonly content: Uint8Array;
  readonly contentAt: number;
}

function copyBytes(target: Buffer, at: number, source: Uint8Array, from: number, to: number): number {
  const length = to - from;
  if (length <= LOOP_COPY_BYTES_MAX) {
    for (let i = 0; i < length; i++) target[at + i] = source[from + i] as number;
  } else if (from === 0 && to === source.length) {
    target.set(source, at);
  } else {
    (source as Buffer).copy(target, at, from, to);
  }
  return at + length;
}

function putU32(target: Buffer, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}

function putFrameHead(target: Buffer, at: number, type: number, channel: number, payload: number): number {
  target[at] = type;
  target[at + 1] = channel >>> 8;
  target[at + 2] = channel;
  putU32(target, at + 3, payload);
  return at + FRAME_HEADER_BYTES;
}

/** What has to be reserved: all of it, or without the body where that is written uncopied. */
function contentFramesBytes(contentBytes: number, bodyBytes: number, frameBytesMax: number): number {
  const headerFrame = FRAME_OVERHEAD_BYTES + CONTENT_PREFIX_BYTES + contentBytes;
  if (bodyBytes >= UNCOPIED_BODY_BYTES_MIN) return headerFrame;
  const bodyFrames = Math.ceil(bodyBytes / (frameBytesMax - FRAME_OVERHEAD_BYTES));
  return headerFrame + bodyBytes + bodyFrames * FRAME_OVERHEAD_BYTES;
}

function writeContentFrames(
  transport: Transport,
  start: number,
  channel: number,
  content: Uint8Array,
  contentAt: number,
  body: Uint8Array,
  frameBytesMax: number,
): void {
  const target = transport.buffer;
  const contentBytes = content.length - contentAt;
  const bodyBytes = body.length;
  let at = putFrameHead(target, start, FRAME_HEADER, channel, CONTENT_PREFIX_BYTES + contentBytes);
  target[at] = 0;
  target[at + 1] = BASIC_CLASS;
  putU32(target, at + 2, 0);
  putU32(target, at + 4, 0);
  putU32(target, at + 8, bodyBytes);
  at = copyBytes(target, at + CONTENT_PREFIX_BYTES, content, contentAt, content.length);
  target[at++] = FRAME_END;
  if (bodyBytes >= UNCOPIED_BODY_BYTES_MIN) {
    writeBodyUncopied(transport, channel, body, frameBytesMax);
    return;
  }
  const payloadMax = frameBytesMax - FRAME_OVERHEAD_BYTES;
  for (let from = 0; from < bodyBytes; from += payloadMax) {
    const to = bodyBytes - from > payloadMax ? from + payloadMax : bodyBytes;
    at = putFrameHead(target, at, FRAME_BODY, channel, to - from);
    at = from === 0 && to === bodyBytes ? putWhole(target, at, body) : putPart(target, at, body, from, to);
    target[at++] = FRAME_END;
  }
}

/** The body is never changed, so the transport may keep parts of it until they are sent. */
function writeBodyUncopied(
  transport: Transport,
  channel: number,
  body: Uint8Array,
  frameBytesMax: number,
): void {
  const payloadMax = frameBytesMax - FRAME_OVERHEAD_BYTES;
  for (let from = 0; from < body.length; from += payloadMax) {
    const to = Math.min(body.length, from + payloadMax);
    const headAt = transport.reserve(FRAME_HEADER_BYTES);
    putFrameHead(transport.buffer, headAt, FRAME_BODY, channel, to - from);
    transport.write(body.subarray(from, to));
    const endAt = transport.reserve(1);
    transport.buffer[endAt] = FRAME_END;
  }
}

function putWhole(target: Buffer, at: number, body: Uint8Array): number {
  return copyBytes(target, at, body, 0, body.length);
}

function putPart(target: Buffer, at: number, body: Uint8Array, from: number, to: number): number {
  target.set(body.subarray(from, to), at);
  return at + to - from;
}

/** basic.deliver. `consumerTag` with its length byte. */
export function writeDeliver(
  transport: Transport,
  channel: number,
  consumerTag: Buffer,
  deliveryTag: number,
  redelivered: boolean,
  wire: WireContent,
  body: Uint8Array,
  frameBytesMax: number,
): void {
  const { route, routeBytes, content, contentAt } = wire;
  const methodBytes = 4 + consumerTag.length + 9 + routeBytes;
  const start = transport.reserve(
    FRAME_OVERHEAD_BYTES +
      methodBytes +
      contentFramesBytes(content.length - contentAt, body.length, frameBytesMax),
  );
  const target = transport.buffer;
  let at = putFrameHead(target, start, FRAME_METHOD, channel, methodBytes);
  putU32(target, at, 0x003c_003c);
  at = copyBytes(target, at + 4, consumerTag, 0, consumerTag.length);
  at = putDelivery(target, at, deliveryTag, redelivered);
  at = copyBytes(target, at, route, 0, routeBytes);
  target[at++] = FRAME_END;
  writeContentFrames(transport, at, channel, content, contentAt, body, frameBytesMax);
}

function putDelivery(target: Buffer, at: number, deliveryTag: number, redelivered: boolean): number {
  putU32(target, at, deliveryTag > 0xffff_ffff ? Math.floor(deliveryTag / 0x1_0000_0000) : 0);
  putU32(target, at + 4, deliveryTag % 0x1_0000_0000);
  target[at + 8] = redelivered ? 1 : 0;
  return at + 9;
}

/** basic.get-ok; `messageCount` is what is left in the queue. */
export function writeGetOk(
  transport: Transport,
  channel: number,
  deliveryTag: number,
  redelivered: boolean,
  messageCount: number,
  wire: WireContent,
  body: Uint8Array,
  frameBytesMax: number,
): void {
  const { route, routeBytes, content, contentAt } = wire;
  const methodBytes = 4 + 9 + routeBytes + 4;
  const start = transport.reserve(
    FRAME_OVERHEAD_BYTES +
      methodBytes +
      contentFramesBytes(content.length - contentAt, body.length, frameBytesMax),
  );
  const target = transport.buffer;
  let at = putFrameHead(target, start, FRAME_METHOD, channel, methodBytes);
  putU32(target, at, 0x003c_0047);
  at = putDelivery(target, at + 4, deliveryTag, redelivered);
  at = copyBytes(target, at, route, 0, routeBytes);
  putU32(target, at, messageCount);
  at += 4;
  target[at++] = FRAME_END;
  writeContentFrames(transport, at, channel, content, contentAt, body, frameBytesMax);
}

/** basic.return; `text` with its length byte. */
export function writeReturn(
  transport: Transport,
  channel: number,
  code: number,
  text: Buffer,
  wire: WireContent,
  body: Uint8Array,
  frameBytesMax: number,
): void {
  const { route, routeBytes, content, contentAt } = wire;
  const methodBytes = 4 + 2 + text.length + routeBytes;
  const start = transport.reserve(
    FRAME_OVERHEAD_BYTES +
      methodBytes +
      contentFramesBytes(content.length - contentAt, body.length, frameBytesMax),
  );
  const target = transport.buffer;
  let at = putFrameHead(target, start, FRAME_METHOD, channel, methodBytes);
  putU32(target, at, 0x003c_0032);
  target[at + 4] = code >>> 8;
  target[at + 5] = code;
  at = copyBytes(target, at + 6, text, 0, text.length);
  at = copyBytes(target, at, route, 0, routeBytes);
  target[at++] = FRAME_END;
  writeContentFrames(transport, at, channel, content, contentAt, body, frameBytesMax);
}

/** basic.ack (confirm) or basic.nack to a publisher. */
export function writeConfirm(
  transport: Transport,
  channel: number,
  tag: number,
  multiple: boolean,
  refused: boolean,
): void {
  const start = transport.reserve(FRAME_OVERHEAD_BYTES + 13);
  const target = transport.buffer;
  const at = putFrameHead(target, start, FRAME_METHOD, channel, 13);
  putU32(target, at, refused ? 0x003c_0078 : 0x003c_0050);
  const end = putDelivery(target, at + 4, tag, multiple);
  target[end] = FRAME_END;
}
