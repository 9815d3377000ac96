/**
 * What addresses remember, given to new subscriptions; one walk for each, however often it is made anew. Walks the
 * retained messages, or what the server tells of itself, only as fast as the client takes them: it waits while the transport is full or the session has messages waiting, and goes on when `pump` is called
 * again. Source: MQTT 5.0 section 3.3.1.3 and 3.8.3.1.
 */

import type { Core, DeliveryOptions, Message, Pattern, Session } from '../../../src/core/index.ts';
import type { Transport } from '../../../src/host.ts';

const QUEUED_MAX = 256;

/** What gives new subscriptions their first messages. */
export interface Remembered {
  match(pattern: Pattern): Iterable<Message>;
}

interface Walk {
  readonly messages: Iterator<Message>;
  readonly options: DeliveryOptions;
}

export class Replay {
  readonly #core: Core;
  readonly #sys: Remembered;
  readonly #session: Session;
  readonly #transport: Transport;
  readonly #outputBytesSoft: number;
  /** By pattern, oldest first: never more than the session has subscriptions. */
  #walks: Map<string, Walk> | null = null;

  constructor(core: Core, sys: Remembered, session: Session, transport: Transport, outputBytesSoft: number) {
    this.#core = core;
    this.#sys = sys;
    this.#session = session;
    this.#transport = transport;
    this.#outputBytesSoft = outputBytesSoft;
  }

  get idle(): boolean {
    return this.#walks === null || this.#walks.size === 0;
  }

  /** `options` say `retained`. Nothing is sent before `pump`. A walk that this subscription still has begins anew. */
  add(pattern: Pattern, options: DeliveryOptions): void {
    // Its subscription may have gone while the answer to it waited for the disk.
    if (!this.#session.subscriptions.has(pattern.key)) return;
    // Under $SYS it is the server that remembers.
    const remembered: Remembered = pattern.tokens[0] === '$SYS' ? this.#sys : this.#core.retained;
    const messages = remembered.match(pattern)[Symbol.iterator]();
    this.#walks ??= new Map();
    this.#walks.delete(pattern.key);
    this.#walks.set(pattern.key, { messages, options });
  }

  /** `[MQTT-3.10.4-2]`: nothing is begun any more for a subscription that is gone. */
  remove(pattern: Pattern): void {
    this.#walks?.delete(pattern.key);
  }

  pump(): void {
    if (this.#walks === null) return;
    for (const [key, { messages, options }] of this.#walks) {
      for (;;) {
        if (this.#transport.pendingBytes > this.#outputBytesSoft || this.#session.queuedCount > QUEUED_MAX)
          return;
        const next = messages.next();
        if (next.done === true) break;
        this.#session.offer(next.value, options);
      }
      this.#walks.delete(key);
    }
  }
}
