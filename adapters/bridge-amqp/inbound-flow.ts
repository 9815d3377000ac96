/**
 * From a link of AMQP to the sink: hands on what came, in its order, a batch for each turn of the event loop, and tells
 * the link what is done with. Each link that receives has one; what differs between the versions of AMQP, how a message
 * is read and settled, stays with the link.
 *
 * What the sink refuses for now is kept unsettled and offered again after a pause, with everything behind it waiting: giving
 * it back would bring it at once, perhaps in another order, and brokers count deliveries that failed.
 *
 * Invariant: what came and is not settled has fewer bytes than `bytesMax`, or the link was told to let nothing more come. What
 * it cannot stop then is bounded by the link.
 */

import type { Message, Timer } from '../../src/core/index.ts';
import type { InboundSink, LinkOptions } from '../../src/outside.ts';

/** Between two offers of what was refused. */
const REFUSED_PAUSE_MS = 1000;

export interface Arrival {
  readonly message: Message;
  /** Grows in the order in which they came. */
  readonly number: number;
  /** Of body and properties, as they came. */
  readonly bytes: number;
}

export interface FlowOptions<A extends Arrival> {
  readonly bytesMax: number;
  /** These are stored, or may be lost; in order. */
  settle(done: readonly A[]): void;
  /** `isFull` has changed. */
  full?(): void;
}

export class InboundFlow<A extends Arrival> {
  readonly #link: LinkOptions;
  readonly #options: FlowOptions<A>;
  #sink: InboundSink | null = null;
  /** Came, and not handed on. */
  #waiting: A[] = [];
  #inFlight = 0;
  /** Of what waits and of what is in flight. */
  #bytes = 0;
  #isFull = false;
  #isScheduled = false;
  #isStopping = false;
  #pause: Timer | null = null;
  #idle: (() => void) | null = null;

  constructor(link: LinkOptions, options: FlowOptions<A>) {
    this.#link = link;
    this.#options = options;
  }

  /** Nothing more is taken; what comes all the same is not to be read. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** As many bytes are held as may be. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Bytes that may still come. */
  get roomBytes(): number {
    return Math.max(0, this.#options.bytesMax - this.#bytes);
  }

  start(sink: InboundSink): void {
    this.#sink = sink;
  }

  came(arrival: A): void {
    this.#waiting.push(arrival);
    this.#bytes += arrival.bytes;
    this.#measure();
    this.#schedule();
  }

  /** Resolves when the sink has answered for what it has. What waits is dropped, unsettled: the broker gives it to the next link. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#pause?.cancel();
    for (const { bytes } of this.#waiting.splice(0)) this.#bytes -= bytes;
    this.#measure();
    if (this.#inFlight === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  /** What comes at the end is not kept: nothing is held back then, or the answers to the close would not come either. */
  #measure(): void {
    const isFull = !this.#isStopping && this.roomBytes === 0;
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    this.#options.full?.();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#pause !== null) return;
    this.#isScheduled = true;
    this.#link.clock.afterTurn(() => {
      this.#isScheduled = false;
      this.#offer();
    });
  }

  #offer(): void {
    const room = this.#link.inFlightMax - this.#inFlight;
    if (this.#isStopping || this.#pause !== null || room <= 0 || this.#waiting.length === 0) return;
    const batch = this.#waiting.splice(0, room);
    this.#inFlight += batch.length;
    const sink = this.#sink as InboundSink;
    sink.take(batch.map(({ message }) => message)).then(
      (answers) => this.#answered(batch, (at) => answers[at] === 'stored'),
      // A sink does not throw; what it did not take is not done.
      (error) => {
        this.#answered(batch, () => false);
        this.#link.logger.error({ bridge: this.#link.name, error: String(error) }, 'messages were not taken');
      },
    );
  }

  #answered(batch: readonly A[], isStored: (at: number) => boolean): void {
    this.#inFlight -= batch.length;
    const isLossy = this.#link.delivery === 'at-most-once';
    const done: A[] = [];
    const refused: A[] = [];
    for (const [at, arrival] of batch.entries()) (isLossy || isStored(at) ? done : refused).push(arrival);
    for (const { bytes } of this.#isStopping ? batch : done) this.#bytes -= bytes;
    this.#options.settle(done);
    if (refused.length > 0 && !this.#isStopping) {
      this.#waiting = [...refused, ...this.#waiting].sort((a, b) => a.number - b.number);
      this.#pause ??= this.#link.clock.after(REFUSED_PAUSE_MS, () => {
        this.#pause = null;
        this.#offer();
      });
    }
    if (this.#inFlight === 0) this.#idle?.();
    this.#measure();
    this.#offer();
  }
}
