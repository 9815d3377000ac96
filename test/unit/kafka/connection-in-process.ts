/** A Kafka connection on a socket that is none: what is sent is given to it, what it writes is kept. */

import Value from 'typebox/value';
import { decodeResponse, encodeRequest } from '../../../adapters/kafka/codec/compile.ts';
import { Reader } from '../../../adapters/kafka/codec/reader.ts';
import type { Api, Draft, RequestOf, ResponseOf } from '../../../adapters/kafka/codec/schema.ts';
import { Writer } from '../../../adapters/kafka/codec/writer.ts';
import { createKafkaAdapter, kafkaSettings } from '../../../adapters/kafka/index.ts';
import type { KafkaSettings } from '../../../adapters/kafka/settings.ts';
import { ANONYMOUS, type Clock, type Core } from '../../../src/core/index.ts';
import type {
  Adapter,
  Authenticator,
  CloseReason,
  ConnectionHandler,
  Host,
  Transport,
} from '../../../src/host.ts';
import { authenticatorOf } from '../../support/doors.ts';

const OPEN: Authenticator = authenticatorOf(() => ANONYMOUS);
const quiet = { debug() {}, info() {}, warn() {}, error() {} };

export function openConnection(
  core: Core,
  clock: Clock,
  changes: Partial<KafkaSettings> = {},
  authenticator: Authenticator = OPEN,
): TestConnection {
  const settings = { ...(Value.Default(kafkaSettings, {}) as KafkaSettings), ...changes };
  const host: Host = {
    core,
    clock,
    logger: quiet,
    authenticator,
    clusterId: new Uint8Array(16),
    version: '0',
    listening: () => undefined,
  };
  return new TestConnection(createKafkaAdapter(host, settings));
}

class TestConnection {
  closedFor: CloseReason | null = null;
  closedDetail = '';
  paused = false;
  /** What the kernel has not taken. */
  pendingBytes = 0;
  readonly #handler: ConnectionHandler;
  #written: Buffer[] = [];
  readonly #frames: Buffer[] = [];
  #correlationId = 0;

  readonly #adapter: Adapter;

  constructor(adapter: Adapter) {
    this.#adapter = adapter;
    const end = (reason: CloseReason, detail = ''): void => {
      if (this.closedFor !== null) return;
      this.closedFor = reason;
      this.closedDetail = detail;
      // As the real one: when the turn is over.
      setImmediate(() => this.#handler.closed(reason));
    };
    const connection = this;
    const transport: Transport = {
      id: 1,
      listener: { name: 'kafka', transport: 'tcp', highWaterBytes: 1 << 20 },
      remoteAddress: '127.0.0.1',
      remotePort: 1,
      localAddress: '127.0.0.1',
      certificate: null,
      localPort: 9092,
      buffer: Buffer.alloc(0),
      reserve: () => {
        throw new Error('not used');
      },
      write: (bytes) => {
        this.#written.push(Buffer.from(bytes));
      },
      pass: () => {
        throw new Error('not used');
      },
      flushEarly: () => {},
      get pendingBytes() {
        return connection.pendingBytes;
      },
      pause: () => {
        this.paused = true;
      },
      resume: () => {
        this.paused = false;
      },
      close: end,
      destroy: end,
    };
    this.#handler = adapter.connect(transport);
  }

  send(api: Api, version: number, body: Buffer): void {
    if (this.closedFor === null) this.#handler.received(frameOf(api, version, ++this.#correlationId, body));
  }

  /** Bytes as a socket may give them: parts of requests, or several. */
  receive(chunk: Buffer): void {
    this.#handler.received(chunk);
  }

  /** Sends a request of these fields; `answer` of the same number finds what came back. */
  ask<A extends Api>(api: A, version: number, request: Draft<RequestOf<A>>): number {
    const writer = new Writer();
    encodeRequest(api, version, writer, request as Partial<RequestOf<A>>);
    this.send(api, version, Buffer.from(writer.cut()));
    return this.#correlationId;
  }

  /** The next answer, which must be to the request of this number; null while there is none. */
  answer<A extends Api>(api: A, version: number, correlationId: number): ResponseOf<A> | null {
    this.#frames.push(...this.takeFrames());
    const frame = this.#frames.shift();
    if (frame === undefined) return null;
    if (frame.readInt32BE(0) !== correlationId) throw new Error(`${frame.readInt32BE(0)} was answered first`);
    const reader = new Reader(frame, version >= api.flexibleFrom && api.key !== 18 ? 5 : 4);
    const response = decodeResponse(api, version, reader);
    if (reader.left > 0) throw new Error(`${reader.left} bytes follow the answer`);
    return response;
  }

  /** Another one to the same server. */
  openAnother(): TestConnection {
    return new TestConnection(this.#adapter);
  }

  /** The gateway stops. */
  settle(done: () => void): void {
    this.#handler.settle?.(done);
  }

  disconnect(): void {
    this.#handler.disconnect('shutting-down');
  }

  /** The socket is gone. */
  end(): void {
    this.#handler.closed('connection-lost');
  }

  /** Everything written, as whole answers. */
  takeFrames(): Buffer[] {
    const bytes = Buffer.concat(this.#written);
    const frames: Buffer[] = [];
    let at = 0;
    while (at + 4 <= bytes.length) {
      const end = at + 4 + bytes.readInt32BE(at);
      frames.push(bytes.subarray(at + 4, end));
      at = end;
    }
    this.#written = [];
    return frames;
  }

  takeAnswers(): number {
    return this.takeFrames().length;
  }
}

export type { TestConnection };

export function frameOf(api: Api, version: number, correlationId: number, body: Buffer): Buffer {
  const writer = new Writer();
  writer.int16(api.key);
  writer.int16(version);
  writer.int32(correlationId);
  writer.string('client', false);
  if (version >= api.flexibleFrom) writer.uvarint(0);
  writer.raw(body);
  return Buffer.from(writer.frame());
}
