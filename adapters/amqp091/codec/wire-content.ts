/**
 * How a message stands on the wire towards one connection. A message that was born in this protocol is copied
 * from its own bytes; another's view is made once and remembered on the message. One object serves a whole
 * process: it is filled and read within one call, so that a delivery makes none.
 */

import {
  type Amqp091View,
  amqp091Codec,
  amqp091FromMessage,
  hasPlainReply,
  isBornAt,
  routeBytes,
} from '../../../mappings/amqp091.ts';
import { type Message, type Replies, viewSlot } from '../../../src/core/index.ts';
import { CONTENT_PREFIX_BYTES, type WireContent } from './content-frames.ts';
import { FRAME_OVERHEAD_BYTES } from './method-codec.ts';

const EMPTY = new Uint8Array(0);
const SLOT = viewSlot();

interface CachedView extends Amqp091View {
  readonly via: string | null;
  readonly contentBytesMax: number;
}

export class WireCursor implements WireContent {
  route: Uint8Array = EMPTY;
  routeBytes = 0;
  content: Uint8Array = EMPTY;
  contentAt = 0;
  /** The last message born here: those that follow mostly have the same names. */
  #native: Uint8Array = EMPTY;
  #address = '';

  load(message: Message, via: string | null, nowMs: number, frameBytesMax: number, replies: Replies): this {
    const { native } = message;
    // The next connection may have agreed on smaller frames than the one before.
    if (message.codec === amqp091Codec && native !== null && native.length < frameBytesMax >> 1) {
      const same = native === this.#native && message.address === this.#address;
      if (same || isBornAt(native, message.address)) {
        this.#native = native;
        this.#address = message.address;
        this.route = native;
        this.content = native;
        this.contentAt = this.routeBytes = routeBytes(native);
        return this;
      }
    }
    const contentBytesMax = frameBytesMax - FRAME_OVERHEAD_BYTES - CONTENT_PREFIX_BYTES;
    this.#loadView(message, via, nowMs, contentBytesMax, replies);
    return this;
  }

  #loadView(
    message: Message,
    via: string | null,
    nowMs: number,
    contentBytesMax: number,
    replies: Replies,
  ): void {
    let view = message.view(SLOT) as CachedView | undefined;
    if (view === undefined || view.via !== via || view.contentBytesMax !== contentBytesMax) {
      const isForeign = message.codec !== amqp091Codec;
      const answerAt = !isForeign || hasPlainReply(message.properties) ? null : replies.addressFor(message);
      view = { ...amqp091FromMessage(message, via, nowMs, contentBytesMax, answerAt), via, contentBytesMax };
      // What is left of an expiry changes with time, and the address for an answer does not live for ever.
      if (message.expiresAtMs === 0 && answerAt === null) message.setView(SLOT, view);
    }
    this.route = view.route;
    this.routeBytes = view.route.length;
    this.content = view.content;
    this.contentAt = 0;
  }
}

export const wireCursor = new WireCursor();
