/**
 * What addresses remember, given to new subscriptions. Walks the retained messages only as fast as the client takes
 * them: it waits while the transport is full or the session has messages waiting, and goes on when `pump` is called
 * again. Source: MQTT 5.0 section 3.3.1.3 and 3.8.3.1.
 */

import type { Core, DeliveryOptions, Message, Pattern, Session } from '../../../src/core/index.ts';
import type { Transport } from '../../../src/host.ts';

const QUEUED_MAX = 256;

interface Walk {
  readonly messages: Iterator<Message>;
  readonly options: DeliveryOptions;
}

export class Replay {
  readonly #core: Core;
  readonly #session: Session;
  readonly #transport: Transport;
  readonly #outputBytesSoft: number;
  readonly #walks: Walk[] = [];

  constructor(core: Core, session: Session, transport: Transport, outputBytesSoft: number) {
    this.#core = core;
    this.#session = session;
    this.#transport = transport;
    this.#outputBytesSoft = outputBytesSoft;
  }

  get idle(): boolean {
    return this.#walks.length === 0;
  }

  /** `options` say `retained`. Nothing is sent before `pump`. */
  add(pattern: Pattern, options: DeliveryOptions): void {
    this.#walks.push({ messages: this.#core.retained.match(pattern)[Symbol.iterator](), options });
  }

  pump(): void {
    for (let walk = this.#walks[0]; walk !== undefined; walk = this.#walks[0]) {
      if (this.#transport.pendingBytes > this.#outputBytesSoft || this.#session.queuedCount > QUEUED_MAX)
        return;
      const next = walk.messages.next();
      if (next.done === true) this.#walks.shift();
      else this.#session.offer(next.value, walk.options);
    }
  }
}
