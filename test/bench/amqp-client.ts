/**
 * The AMQP 0-9-1 receiver of the load generator: a queue bound to `amq.topic`, consumed with or without
 * acknowledgements. It understands only what a broker sends to such a client, and hands each body on from its first
 * byte. Frames: u8 type, u16 channel, u32 size, payload, 0xCE (AMQP 0-9-1 4.2.3).
 */
import type { PayloadListener } from './mqtt-client.ts';
import { WireClient } from './wire.ts';

const FRAME_METHOD = 1;
const FRAME_HEADER = 2;
const FRAME_BODY = 3;

/** Not above what brokers offer by default: asking for more ends the connection. */
const CHANNELS_MAX = 2047;
const FRAME_BYTES_MAX = 131_072;

const shortText = (text: string): Buffer => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);

function longText(text: string): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(Buffer.byteLength(text));
  return Buffer.concat([head, Buffer.from(text)]);
}

const EMPTY_TABLE = Buffer.alloc(4);

function method(channel: number, classId: number, methodId: number, ...fields: Uint8Array[]): Buffer {
  const payload = Buffer.concat([Buffer.from([0, classId, 0, methodId]), ...fields]);
  const head = Buffer.alloc(7);
  head[0] = FRAME_METHOD;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.from([0xce])]);
}

export class AmqpReceiver extends WireClient {
  readonly #onPayload: PayloadListener;
  readonly #acknowledgeEvery: number;
  #waiting: { readonly method: number; readonly resolve: () => void } | null = null;
  #unacknowledged = 0;

  /** `acknowledgeEvery` 0 consumes without acknowledgements. */
  constructor(port: number, onPayload: PayloadListener, acknowledgeEvery: number) {
    super(port);
    this.#onPayload = onPayload;
    this.#acknowledgeEvery = acknowledgeEvery;
  }

  /** Opens, declares `queue`, binds it to the root of the topic tree with `key` and consumes. */
  async receive(queue: string, key: string, durable: boolean): Promise<void> {
    await this.opened;
    const credentials = longText('\0guest\0guest');
    await this.#ask(Buffer.from('AMQP\0\0\x09\x01', 'latin1'), 10 * 256 + 10);
    await this.#ask(
      method(0, 10, 11, EMPTY_TABLE, shortText('PLAIN'), credentials, shortText('en_US')),
      10 * 256 + 30,
    );
    const tune = Buffer.alloc(8); // no heartbeat
    tune.writeUInt16BE(CHANNELS_MAX, 0);
    tune.writeUInt32BE(FRAME_BYTES_MAX, 2);
    this.send(method(0, 10, 31, tune));
    await this.#ask(method(0, 10, 40, shortText('/'), Buffer.from([0, 0])), 10 * 256 + 41);
    await this.#ask(method(1, 20, 10, Buffer.from([0])), 20 * 256 + 11);
    const reserved = Buffer.from([0, 0]);
    const declareFlags = Buffer.from([durable ? 2 : 8]); // durable, or deleted with its last consumer
    await this.#ask(method(1, 50, 10, reserved, shortText(queue), declareFlags, EMPTY_TABLE), 50 * 256 + 11);
    const source = [shortText(queue), shortText('amq.topic'), shortText(key)];
    await this.#ask(method(1, 50, 20, reserved, ...source, Buffer.from([0]), EMPTY_TABLE), 50 * 256 + 21);
    if (this.#acknowledgeEvery > 0) {
      await this.#ask(method(1, 60, 10, Buffer.from([0, 0, 0, 0, 0x03, 0xe8, 0])), 60 * 256 + 11); // prefetch 1000
    }
    const consumeFlags = Buffer.from([this.#acknowledgeEvery > 0 ? 0 : 2]);
    await this.#ask(
      method(1, 60, 20, reserved, shortText(queue), shortText('bench'), consumeFlags, EMPTY_TABLE),
      60 * 256 + 21,
    );
  }

  #ask(request: Uint8Array, answer: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting = { method: answer, resolve };
      this.send(request);
      this.flush();
    });
  }

  protected feed(bytes: Buffer, end: number): number {
    let at = 0;
    while (end - at >= 8) {
      const size = bytes.readUInt32BE(at + 3);
      if (at + size + 8 > end) break;
      const type = bytes[at]!;
      const payload = at + 7;
      if (type === FRAME_METHOD) this.#takeMethod(bytes, payload, size);
      // Bodies of this benchmark fit one frame, so each body frame is a message.
      else if (type === FRAME_BODY) this.#onPayload(bytes, payload);
      else if (type !== FRAME_HEADER && type !== 8) throw new Error(`unexpected frame type ${type}`);
      at += size + 8;
    }
    return at;
  }

  #takeMethod(bytes: Buffer, payload: number, size: number): void {
    const id = bytes.readUInt16BE(payload) * 256 + bytes.readUInt16BE(payload + 2);
    if (id === 60 * 256 + 60) {
      if (this.#acknowledgeEvery === 0 || ++this.#unacknowledged < this.#acknowledgeEvery) return;
      this.#unacknowledged = 0;
      const tagAt = payload + 5 + bytes[payload + 4]!;
      this.send(method(1, 60, 80, bytes.subarray(tagAt, tagAt + 8), Buffer.from([1]))); // all up to this one
      return;
    }
    if (id === this.#waiting?.method) {
      this.#waiting.resolve();
      this.#waiting = null;
    } else if (id === 10 * 256 + 50 || id === 20 * 256 + 40) {
      throw new Error(`the broker closed: ${bytes.toString('latin1', payload + 6, payload + size)}`);
    }
  }
}
