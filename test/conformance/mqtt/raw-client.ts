/**
 * A client for the conformance tests that sends whatever bytes a test wants and reads what comes back strictly: a
 * packet of the server that the specification does not allow throws. `fence` is how a test waits for "nothing more
 * comes" without a sleep: a server answers PINGREQ in its turn, so what it had to say before has come. Packet
 * identifiers are given by the tests.
 */

import { once } from 'node:events';
import { connect as connectSocket, type Socket } from 'node:net';
import {
  ack,
  type ConnectOptions,
  connect,
  type Filter,
  type Properties,
  type PublishOptions,
  pingreq,
  publish,
  type Received,
  read,
  subscribe,
  Type,
  unsubscribe,
  type Version,
} from './packets.ts';

/** Only a failing test waits so long. */
const WAIT_MS_MAX = 3_000;

/** A stream of bytes to a gateway: a socket, or a WebSocket dressed as one. */
export interface Wire {
  write(bytes: Buffer): void;
  destroy(): void;
}

export class RawClient {
  version: Version;
  /** What came and nobody has asked for yet. */
  readonly #inbox: Received[] = [];
  #tail: Buffer = Buffer.alloc(0);
  #closed = false;
  #failure: Error | null = null;
  #wake: (() => void) | null = null;
  #wire: Wire | null = null;

  constructor(version: Version) {
    this.version = version;
  }

  /** A connection without a CONNECT. */
  static async open(port: number, version: Version): Promise<RawClient> {
    const client = new RawClient(version);
    const socket: Socket = connectSocket({ port, host: '127.0.0.1', noDelay: true });
    socket.on('data', (chunk) => client.feed(chunk));
    socket.on('close', () => client.ended());
    socket.on('error', () => {});
    await once(socket, 'connect');
    client.#wire = socket;
    return client;
  }

  use(wire: Wire): void {
    this.#wire = wire;
  }

  feed(chunk: Buffer): void {
    this.#tail = Buffer.concat([this.#tail, chunk]);
    try {
      for (;;) {
        const total = wholeLength(this.#tail);
        if (total === 0 || total > this.#tail.length) break;
        this.#inbox.push(read(this.version, this.#tail.subarray(0, total)));
        this.#tail = this.#tail.subarray(total);
      }
    } catch (error) {
      this.#failure = error as Error;
    }
    this.#wake?.();
  }

  ended(): void {
    this.#closed = true;
    this.#wake?.();
  }

  send(...packets: Buffer[]): void {
    this.#wire?.write(Buffer.concat(packets));
  }

  /** Drops the connection without a word. */
  async drop(): Promise<void> {
    this.#wire?.destroy();
    await this.#until(() => this.#closed, 'the socket did not close');
  }

  /** The next packet. Throws where the connection ends before or nothing comes. */
  async next(): Promise<Received> {
    await this.#until(() => this.#inbox.length > 0 || this.#closed, 'no packet came');
    const packet = this.#inbox.shift();
    if (packet === undefined) throw new Error('the connection was closed instead of a packet');
    return packet;
  }

  /** The next packet, which has to be of this type. */
  async expect(type: number): Promise<Received> {
    const packet = await this.next();
    if (packet.type !== type) {
      throw new Error(`a packet of type ${packet.type} (0x${packet.reason.toString(16)}) instead of ${type}`);
    }
    return packet;
  }

  /** Waits until the server has closed the connection; what came before. */
  async closed(): Promise<Received[]> {
    await this.#until(() => this.#closed, 'the connection stays open');
    return this.#inbox.splice(0);
  }

  /** Everything that came up to the answer to a PINGREQ. */
  async fence(): Promise<Received[]> {
    this.send(pingreq());
    const before: Received[] = [];
    for (;;) {
      const packet = await this.next();
      if (packet.type === Type.PINGRESP) return before;
      before.push(packet);
    }
  }

  /** CONNECT, and the CONNACK. */
  async connect(options: ConnectOptions = {}): Promise<Received> {
    this.send(connect(this.version, options));
    return this.expect(Type.CONNACK);
  }

  async subscribe(filters: readonly Filter[], list: Properties = [], id = 100): Promise<Received> {
    this.send(subscribe(this.version, id, filters, list));
    return this.expect(Type.SUBACK);
  }

  /** Subscribes; every PUBLISH that comes with it, before or after the SUBACK. */
  async replayed(filters: readonly Filter[], list: Properties = []): Promise<Received[]> {
    this.send(subscribe(this.version, 102, filters, list));
    const came: Received[] = [];
    do came.push(await this.next());
    while (came.at(-1)?.type !== Type.SUBACK);
    came.push(...(await this.fence()));
    return came.filter(({ type }) => type === Type.PUBLISH);
  }

  async unsubscribe(filters: readonly string[], id = 101): Promise<Received> {
    this.send(unsubscribe(this.version, id, filters));
    return this.expect(Type.UNSUBACK);
  }

  /** Publishes and waits until the server has taken it, with all packets of its QoS; the first answer. */
  async publish(topic: string, payload: string, options: PublishOptions = {}): Promise<Received | null> {
    this.send(publish(this.version, topic, payload, options));
    const { qos = 0, id = 1 } = options;
    if (qos === 0) {
      await this.fence();
      return null;
    }
    if (qos === 1) return this.expect(Type.PUBACK);
    const received = await this.expect(Type.PUBREC);
    if (received.reason < 0x80) {
      this.send(ack(Type.PUBREL, id));
      await this.expect(Type.PUBCOMP);
    }
    return received;
  }

  async #until(isDone: () => boolean, failure: string): Promise<void> {
    const deadline = Date.now() + WAIT_MS_MAX;
    for (;;) {
      if (this.#failure !== null) throw this.#failure;
      if (isDone()) return;
      const leftMs = deadline - Date.now();
      if (leftMs <= 0) throw new Error(failure);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/** Bytes of the packet that begins here, 0 while its header is not whole. */
function wholeLength(bytes: Buffer): number {
  let length = 0;
  for (let at = 1; at < bytes.length && at < 5; at++) {
    const byte = bytes[at] as number;
    length += (byte & 0x7f) * 128 ** (at - 1);
    if (byte < 0x80) return at + 1 + length;
  }
  if (bytes.length >= 5) throw new Error('a length of more than four bytes');
  return 0;
}
