/**
 * Receives from the queues of an outside broker of AMQP 0-9-1 for one bridge: what comes is handed to the sink in order, and
 * acknowledged when the sink says that it is stored. Called by `link.ts`; what waits for the sink is in an `InboundFlow`.
 *
 * The broker can be told how many messages it may give, not how many bytes: beyond those the connection is not read.
 * What the sink refuses for now is never given back: a quorum queue allows only so many deliveries that failed. A message
 * that cannot be read or is too large is rejected, so that the queue's dead letters take it.
 */

import type { Channel, ConsumeMessage } from 'amqplib';
import { type InboundSink, LinkError, type LinkOptions } from '../../src/outside.ts';
import { type Arrival, InboundFlow } from '../bridge-amqp/inbound-flow.ts';
import type { OutsideConnection } from './connection.ts';
import { linkErrorFrom } from './errors.ts';
import { messageFromDelivery } from './messages.ts';
import type { InOptions } from './settings.ts';
import { contentOf, oversizeOf } from './wire.ts';

/** Its number is its tag. */
interface Delivery extends Arrival {
  readonly came: ConsumeMessage;
}

export class Inbound {
  readonly #connection: OutsideConnection;
  readonly #link: LinkOptions;
  readonly #options: InOptions;
  readonly #consumerTags: string[] = [];
  readonly #flow: InboundFlow<Delivery>;
  #channel: Channel | null = null;
  #hasStarted = false;
  /** Tags without an acknowledgement, oldest first. */
  readonly #unsettled = new Set<number>();

  constructor(connection: OutsideConnection, link: LinkOptions, options: InOptions) {
    this.#connection = connection;
    this.#link = link;
    this.#options = options;
    this.#flow = new InboundFlow(link, {
      bytesMax: options.inFlightBytesMax,
      settle: (done) => this.#acknowledge(done),
      full: () => this.#holdBack(),
    });
  }

  async start(sources: readonly string[], sink: InboundSink): Promise<void> {
    this.#flow.start(sink);
    this.#connection.tap.limitBodies(this.#options.messageBytesMax);
    let source = '';
    try {
      const channel = await this.#connection.model.createChannel();
      this.#channel = channel;
      let reason: Error | null = null;
      channel.on('error', (error) => {
        reason = error;
      });
      channel.on('close', () => {
        this.#channel = null;
        if (reason !== null && this.#hasStarted) this.#lose(linkErrorFrom(reason, 'the channel was closed'));
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
      this.#hasStarted = true;
      this.#holdBack();
    } catch (error) {
      throw this.#connection.ended ?? linkErrorFrom(error, `queue ${JSON.stringify(source)}`);
    }
  }

  /** Stops consuming, and waits for what the sink has. */
  async stop(): Promise<void> {
    const stored = this.#flow.stop();
    const channel = this.#channel;
    // Whoever is gone needs not be told.
    await Promise.allSettled(this.#consumerTags.map((tag) => channel?.cancel(tag)));
    await stored;
    // It goes behind the acknowledgements, which the close of the connection would overtake.
    await channel?.close().catch(() => {});
  }

  /** Not while answers about further queues are to be read, which would stand behind messages of the first. */
  #holdBack(): void {
    if (this.#hasStarted && this.#flow.isFull) this.#connection.tap.rest();
    else this.#connection.tap.resume();
  }

  #lose(error: LinkError): void {
    if (!this.#flow.isStopping) this.#link.lost(error);
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
    if (this.#flow.isStopping) return;
    const number = came.fields.deliveryTag;
    try {
      const size = oversizeOf(came);
      if (size !== null) throw new Error(`its ${size} bytes are more than messageBytesMax`);
      const message = messageFromDelivery(came, queue, this.#options.addressFrom, this.#link.clock.nowMs());
      this.#unsettled.add(number);
      const bytes = came.content.length + (contentOf(came)?.length ?? 0);
      this.#flow.came({ came, number, message, bytes });
    } catch (error) {
      this.#link.logger.warn(
        { bridge: this.#link.name, queue, reason: (error as Error).message },
        'a message of the outside broker cannot be read and was rejected',
      );
      this.#tell((channel) => channel.reject(came, false));
    }
  }

  /** In one where nothing older is open. */
  #acknowledge(done: readonly Delivery[]): void {
    for (const { number } of done) this.#unsettled.delete(number);
    const last = done.at(-1);
    if (last === undefined) return;
    const [oldest = Number.POSITIVE_INFINITY] = this.#unsettled;
    this.#tell((channel) => {
      if (oldest > last.number) channel.ack(last.came, true);
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
