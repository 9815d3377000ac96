/**
 * The acknowledgements that a client is owed for its QoS 1 and 2 messages, in the order in which those came, although
 * the core may say of a later one that it is stored before it says so of an earlier one. Receipts come back with the
 * token that `wait` gave. Source: `[MQTT-4.6.0-2]` to `[MQTT-4.6.0-4]`.
 */

import type { CoreError, ReceiptSink } from '../../../src/core/index.ts';

/** Writes acknowledgements; implemented by the inbound side of a connection. */
export interface AckWriter {
  /** `type` is PUBACK or PUBREC, `reason` 0 or more; `error` where the core refused. */
  acknowledge(type: number, packetId: number, reason: number, error: CoreError | null): void;
}

interface Waiting {
  readonly type: number;
  readonly packetId: number;
  reason: number;
  error: CoreError | null;
  done: boolean;
}

export class AckQueue implements ReceiptSink {
  readonly #writer: AckWriter;
  #waiting: Waiting[] = [];
  /** Position of the oldest in `#waiting`, and its token. */
  #first = 0;
  #firstToken = 0;

  constructor(writer: AckWriter) {
    this.#writer = writer;
  }

  get size(): number {
    return this.#waiting.length - this.#first;
  }

  /** The token of the acknowledgement that the next `wait` adds. */
  get nextToken(): number {
    return this.#firstToken + this.size;
  }

  /** It may be written when `stored`, `refused` or `finish` has been called with its token. */
  wait(type: number, packetId: number): void {
    this.#waiting.push({ type, packetId, reason: 0, error: null, done: false });
  }

  stored(token: number): void {
    this.finish(token, 0, null);
  }

  refused(token: number, error: CoreError): void {
    this.finish(token, 0, error);
  }

  finish(token: number, reason: number, error: CoreError | null): void {
    const entry = this.#waiting[this.#first + token - this.#firstToken];
    if (entry === undefined) return;
    entry.done = true;
    entry.reason = reason;
    entry.error = error;
    if (token === this.#firstToken) this.#writeDone();
  }

  /** Nothing is owed any more: the connection is over. */
  clear(): void {
    this.#firstToken += this.size;
    this.#waiting = [];
    this.#first = 0;
  }

  #writeDone(): void {
    for (let entry = this.#waiting[this.#first]; entry?.done === true; entry = this.#waiting[this.#first]) {
      this.#first++;
      this.#firstToken++;
      if (this.#first === this.#waiting.length) {
        this.#waiting = [];
        this.#first = 0;
      } else if (this.#first >= 1024) {
        this.#waiting = this.#waiting.slice(this.#first);
        this.#first = 0;
      }
      this.#writer.acknowledge(entry.type, entry.packetId, entry.reason, entry.error);
    }
  }
}
