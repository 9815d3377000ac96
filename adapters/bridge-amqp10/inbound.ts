/**
 * Receives from the nodes of an outside broker of AMQP 1.0 for one bridge: what comes is handed to the sink in order, and
 * accepted when the sink says that it is stored. Credit is as many messages as may be in flight, and the window of the session
 * as many frames as there is room for their bytes. Called by `link.ts`; what waits for the sink is in an `InboundFlow`.
 *
 * What the sink refuses for now is never released. What cannot be read or is too large is rejected.
 */

import { Buffer } from 'node:buffer';
import type { Delivery, EventContext, Receiver } from 'rhea';
import { addressFromAmqp10, messageFromAmqp10 } from '../../mappings/amqp10.ts';
import type { Message } from '../../src/core/index.ts';
import { type InboundSink, LinkError, type LinkOptions } from '../../src/outside.ts';
import { type Arrival, InboundFlow } from '../bridge-amqp/inbound-flow.ts';
import type { OutsideConnection } from './connection.ts';
import { linkErrorFrom, type OutsideFault } from './errors.ts';
import type { InOptions, OutsideAmqp10 } from './settings.ts';

/** Any but 0: the library then hands over the bytes of a message as they came. */
const RAW_FORMAT = 1;
const DURABLE_UNSETTLED = 2;
const NOTHING = Buffer.alloc(0);
/** Transfers are numbered with 32 bits. */
const TRANSFER_IDS = 2 ** 32;

/** One source's link. */
interface Source {
  readonly address: string;
  readonly receiver: Receiver;
  /** Settled since credit was last given. */
  owed: number;
}

interface Transferred extends Arrival {
  readonly delivery: Delivery;
  readonly source: Source;
}

/** The part of the library's session that sees a transfer first. */
interface Incoming {
  /** Frames that the other side may send from now on. */
  readonly window: number;
  /** The number of the first frame beyond the window that was told last. */
  max_transfer_id: number;
  next_transfer_id: number;
  on_transfer(frame: TransferFrame, receiver: CreditedReceiver): void;
}

interface SessionInsides {
  incoming: Incoming;
  /** Not sent yet where the session is new. */
  readonly local: { readonly begin: { incoming_window: number } };
  readonly connection: { _register(): void };
}

interface CreditedReceiver extends Receiver {
  credit: number;
  /** The delivery whose transfers have not all come. */
  readonly _incomplete?: { readonly frames: Buffer[] };
}

interface TransferFrame {
  readonly performative: {
    message_format?: number;
    readonly aborted?: boolean;
    readonly more?: boolean;
  };
  payload?: Buffer;
}

export class Inbound {
  readonly #connection: OutsideConnection;
  readonly #link: LinkOptions;
  readonly #options: InOptions;
  readonly #flow: InboundFlow<Transferred>;
  #creditPerSource = 1;
  #arrivals = 0;
  /** Bytes that have come of the delivery that a receiver is in the middle of. */
  readonly #gathered = new WeakMap<Receiver, number>();

  constructor(connection: OutsideConnection, link: LinkOptions, options: InOptions) {
    this.#connection = connection;
    this.#link = link;
    this.#options = options;
    this.#flow = new InboundFlow(link, {
      bytesMax: options.inFlightBytesMax,
      settle: (done) => this.#accept(done),
    });
  }

  async start(sources: readonly string[], sink: InboundSink): Promise<void> {
    this.#flow.start(sink);
    const most = Math.min(this.#options.credit, this.#link.inFlightMax);
    this.#creditPerSource = Math.max(1, Math.floor(most / sources.length));
    const attached: Source[] = [];
    for (const address of sources) attached.push(await this.#attach(address));
    for (const { receiver } of attached) receiver.add_credit(this.#creditPerSource);
  }

  /** Frames that there is room for. What has not come whole does not count, or the rest of it would never come. */
  #roomFrames(): number {
    const { frameBytesMax } = this.#link.connection as OutsideAmqp10;
    return Math.ceil(this.#flow.roomBytes / frameBytesMax);
  }

  async #attach(address: string): Promise<Source> {
    const { capability, durable } = this.#options;
    const { connection } = this.#connection;
    const where = `source ${JSON.stringify(address)}`;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const receiver = connection.open_receiver({
      name: `${this.#link.name}:${address}`,
      credit_window: 0,
      autoaccept: false,
      source: {
        address,
        ...(capability === 'none' ? {} : { capabilities: [capability] }),
        ...(durable ? { durable: DURABLE_UNSETTLED, expiry_policy: 'never' } : {}),
      },
    });
    takeBytes(receiver, this.#gathered, this.#options.messageBytesMax, () => this.#roomFrames());
    const source: Source = { address, receiver, owed: 0 };
    const fail = (error: LinkError): void => {
      reject(error);
      this.#connection.end(error);
    };
    receiver.on('receiver_open', () => {
      // A refused one names no source, and its end follows.
      if (receiver.source?.address) resolve();
    });
    receiver.on('receiver_error', () =>
      fail(linkErrorFrom(receiver.error as OutsideFault | undefined, where)),
    );
    receiver.on('receiver_close', () =>
      fail(new LinkError('no-target', `${where}: the broker ended the link`)),
    );
    receiver.on('message', ({ message, delivery }: EventContext) => {
      if (delivery !== undefined) this.#came(message as unknown as Buffer, delivery, source);
    });
    this.#connection.watch(reject);
    const { connectTimeoutMs } = this.#link.connection as OutsideAmqp10;
    const timer = this.#link.clock.after(connectTimeoutMs, () => {
      fail(new LinkError('timeout', `${where}: not open within ${connectTimeoutMs} ms`));
    });
    try {
      await promise;
      return source;
    } finally {
      timer.cancel();
    }
  }

  stop(): Promise<void> {
    return this.#flow.stop();
  }

  #came(bytes: Buffer, delivery: Delivery, source: Source): void {
    if (this.#flow.isStopping) return;
    let message: Message | null;
    const size = this.#gathered.get(source.receiver) ?? 0;
    try {
      if (size > this.#options.messageBytesMax)
        throw new Error(`its ${size} bytes are more than messageBytesMax`);
      message = this.#messageFrom(bytes, source.address);
    } catch (error) {
      message = null;
      this.#link.logger.warn(
        { bridge: this.#link.name, source: source.address, reason: (error as Error).message },
        'a message of the outside broker cannot be read and was rejected',
      );
    }
    if (message === null) {
      const isLarge = size > this.#options.messageBytesMax;
      delivery.reject(
        isLarge
          ? { condition: 'amqp:link:message-size-exceeded', description: `${size} bytes` }
          : { condition: 'amqp:decode-error', description: 'not a message of AMQP 1.0' },
      );
      this.#giveCredit(source);
      return;
    }
    this.#flow.came({ delivery, source, message, number: this.#arrivals++, bytes: size });
  }

  #messageFrom(bytes: Buffer, source: string): Message | null {
    const nowMs = this.#link.clock.nowMs();
    const byTo = this.#options.addressFrom === 'to' ? messageFromAmqp10(bytes, null, '', nowMs) : null;
    return byTo ?? messageFromAmqp10(bytes, addressFromAmqp10(source, null) ?? source, '', nowMs);
  }

  /** Half of it at once: a flow for each message would be as many frames as messages. */
  #giveCredit(source: Source): void {
    source.owed++;
    if (this.#flow.isStopping || source.owed * 2 < this.#creditPerSource) return;
    source.receiver.add_credit(source.owed);
    source.owed = 0;
  }

  #accept(done: readonly Transferred[]): void {
    for (const { delivery, source } of done) {
      delivery.accept();
      this.#giveCredit(source);
    }
  }
}

/**
 * The library decodes a message into plain objects, in which the types of numbers are lost; the mapping needs its bytes. An
 * aborted delivery would be handed over as a whole one, and a broker that counts credit otherwise would fill the console. Of a
 * message that is larger than `bytesMax` nothing is kept but the size, in `gathered`. The session takes as many frames as
 * `roomFrames` says.
 */
function takeBytes(
  receiver: Receiver,
  gathered: WeakMap<Receiver, number>,
  bytesMax: number,
  roomFrames: () => number,
): void {
  const session = receiver.session as unknown as SessionInsides;
  const { incoming: own, local, connection } = session;
  const isKnown =
    typeof own?.on_transfer === 'function' &&
    typeof own.window === 'number' &&
    typeof own.max_transfer_id === 'number' &&
    typeof local?.begin?.incoming_window === 'number' &&
    typeof connection?._register === 'function';
  if (!isKnown) throw new LinkError('protocol', 'this version of rhea is not supported');
  if (Object.hasOwn(own, 'on_transfer')) return;
  // Its own window counts deliveries, and cannot be defined anew. What was told is not taken back: some brokers take a window
  // that shrinks below what they have sent for an endless one.
  const incoming: Incoming = Object.create(own, {
    window: {
      get: () => Math.min(own.window, Math.max(roomFrames(), toldFrames(incoming))),
    },
  });
  incoming.max_transfer_id = incoming.next_transfer_id;
  incoming.max_transfer_id += incoming.window;
  local.begin.incoming_window = incoming.window;
  session.incoming = incoming;
  const take = own.on_transfer;
  incoming.on_transfer = (frame, from) => {
    if (frame.performative.aborted) throw new Error('the broker aborted a delivery');
    frame.performative.message_format = RAW_FORMAT;
    from.credit = Math.max(1, from.credit);
    const bytes = (gathered.get(from) ?? 0) + (frame.payload?.length ?? 0);
    gathered.set(from, bytes);
    if (bytes > bytesMax) {
      from._incomplete?.frames.splice(0);
      frame.payload = NOTHING;
    }
    take.call(incoming, frame, from);
    // The library lets it grow, and then tells the broker the one and compares with the other.
    if (incoming.next_transfer_id >= TRANSFER_IDS) {
      incoming.next_transfer_id -= TRANSFER_IDS;
      incoming.max_transfer_id -= TRANSFER_IDS;
    }
    if (!frame.performative.more) gathered.delete(from);
    // It looks after the window only where it has something else to do, which it has not in the middle of a message.
    if (toldFrames(incoming) < incoming.window / 2) connection._register();
  };
}

/** How many the broker was told that may still come. */
const toldFrames = (incoming: Incoming): number => incoming.max_transfer_id - incoming.next_transfer_id;
