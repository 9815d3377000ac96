/**
 * Receives from the queues of an outside broker of AMQP 0-9-1 for one bridge: what comes is handed to the sink in order, a
 * batch for each turn of the event loop, and acknowledged when the sink says that it is stored. Called by `link.ts`.
 *
 * What the sink refuses for now is kept unacknowledged and offered again after a pause, with everything behind it waiting:
 * giving it back would bring it at once, in another order, and count as a failed delivery that a quorum queue
 * allows only so often. A message that cannot be read or is too large is rejected, so that the queue's dead letters take it.
 */

import type { Channel, ConsumeMessage } from 'amqplib';
import type { Message, Timer } from '../../src/core/index.ts';
import { type InboundSink, LinkError, type LinkOptions } from '../../src/outside.ts';
import type { OutsideConnection } from './connection.ts';
import { linkErrorFrom } from './errors.ts';
import { messageFromDelivery } from './messages.ts';
import type { InOptions } from './settings.ts';
import { oversizeOf } from './wire.ts';

/** Between two offers of what was refused. */
const REFUSED_PAUSE_MS = 1000;

interface Delivery {
  readonly came: ConsumeMessage;
  readonly tag: number;
  readonly message: Message;
}

export class Inbound {
  readonly #connection: OutsideConnection;
  readonly #link: LinkOptions;
  readonly #options: InOptions;
  readonly #consumerTags: string[] = [];
  #channel: Channel | null = null;
  #sink: InboundSink | null = null;
  /** Came, and not handed on yet. Bounded by the prefetch of all consumers. */
  #waiting: Delivery[] = [];
  /** Tags without an acknowledgement, oldest first. */
  readonly #unsettled = new Set<number>();
  #inFlight = 0;
  #isScheduled = false;
  #isStopping = false;
  #pause: Timer | null = null;
  #idle: (() => void) | null = null;

  constructor(connection: OutsideConnection, link: LinkOptions, options: InOptions) {
    this.#connection = connection;
    this.#link = link;
    this.#options = options;
  }

  async start(sources: readonly string[], sink: InboundSink): Promise<void> {
    this.#sink = sink;
    this.#connection.tap.limitBodies(this.#options.messageBytesMax);
    let source = '';
    try {
      const channel = await this.#connection.model.createChannel();
      this.#channel = channel;
      let hasStarted = false;
      let reason: Error | null = null;
      channel.on('error', (error) => {
        reason = error;
      });
      channel.on('close', () => {
        this.#channel = null;
        if (reason !== null && hasStarted) this.#lose(linkErrorFrom(reason, 'the channel was closed'));
      });
      const share = Math.floor(Math.min(this.#options.prefetch, this.#link.inFlightMax) / sources.length);
      await channel.prefetch(Math.max(1, share));
      for (source of sources) {
        const queue = source;
        const { consumerTag } = await channel.consume(queue, (came) => this.#came(came, queue), {
          exclusive: this.#options.exclusive,
        });
        this.#consumerTags.push(consumerTag);
      }
      hasStarted = true;
    } catch (error) {
      throw this.#connection.ended ?? linkErrorFrom(error, `queue ${JSON.stringify(source)}`);
    }
  }

  /** Stops consuming, and waits for what the sink has. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#pause?.cancel();
    const channel = this.#channel;
    // Whoever is gone needs not be told.
    await Promise.allSettled(this.#consumerTags.map((tag) => channel?.cancel(tag)));
    this.#waiting = [];
    if (this.#inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    // It goes behind the acknowledgements, which the close of the connection would overtake.
    await channel?.close().catch(() => {});
  }

  #lose(error: LinkError): void {
    if (!this.#isStopping) this.#link.lost(error);
  }

  #came(came: ConsumeMessage | null, queue: string): void {
    if (came === null) {
      this.#lose(
        new LinkError(
          'no-target',
          `the broker ended the consumer of queue ${JSON.stringify(queue)}: it was deleted or moved`,
        ),
      );
      return;
    }
    if (this.#isStopping) return;
    const tag = came.fields.deliveryTag;
    try {
      const size = oversizeOf(came);
      if (size !== null) throw new Error(`its ${size} bytes are more than messageBytesMax`);
      const message = messageFromDelivery(came, queue, this.#options.addressFrom, this.#link.clock.nowMs());
      this.#unsettled.add(tag);
      this.#waiting.push({ came, tag, message });
    } catch (error) {
      this.#link.logger.warn(
        { bridge: this.#link.name, queue, reason: (error as Error).message },
        'a message of the outside broker cannot be read and was rejected',
      );
      this.#tell((channel) => channel.reject(came, false));
      return;
    }
    this.#schedule();
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

  #answered(batch: readonly Delivery[], isStored: (at: number) => boolean): void {
    this.#inFlight -= batch.length;
    const isLossy = this.#link.delivery === 'at-most-once';
    const done: Delivery[] = [];
    const refused: Delivery[] = [];
    for (const [at, delivery] of batch.entries()) (isLossy || isStored(at) ? done : refused).push(delivery);
    this.#acknowledge(done);
    if (refused.length > 0) {
      this.#waiting = [...refused, ...this.#waiting].sort((a, b) => a.tag - b.tag);
      this.#pause ??= this.#link.clock.after(REFUSED_PAUSE_MS, () => {
        this.#pause = null;
        this.#offer();
      });
    }
    if (this.#inFlight === 0) this.#idle?.();
    this.#offer();
  }

  /** In one where nothing older is open. */
  #acknowledge(done: readonly Delivery[]): void {
    for (const { tag } of done) this.#unsettled.delete(tag);
    const last = done.at(-1);
    if (last === undefined) return;
    const [oldest = Number.POSITIVE_INFINITY] = this.#unsettled;
    this.#tell((channel) => {
      if (oldest > last.tag) channel.ack(last.came, true);
      else for (const { came } of done) channel.ack(came);
    });
  }

  /** A channel that is being closed throws: what it was not told of comes again. */
  #tell(say: (channel: Channel) => void): void {
    if (this.#channel === null) return;
    try {
      say(this.#channel);
    } catch (error) {
      this.#link.logger.debug({ bridge: this.#link.name, error: String(error) }, 'the channel is closing');
    }
  }
}
