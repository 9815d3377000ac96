/**
 * The MQTT 3.1.1 client of the load generator, quality of service 0 and 1. Publishers copy a ready-made packet and
 * patch its packet identifier and payload head; subscribers acknowledge in one write for each read. Every payload begins
 * with a 16-byte head, so that order, loss and latency show at the receiver, whichever protocol it speaks:
 *
 *   byte 0  f64 send time, microseconds   byte 8  u32 publisher   byte 12  u32 sequence      (little endian)
 */
import { nowUs } from './measure.ts';
import { WireClient } from './wire.ts';

export const HEAD_BYTES = 16;

/** Called for each payload received; `at` is where its head begins. */
export type PayloadListener = (bytes: Buffer, at: number) => void;

const withLength = (text: string): Buffer => {
  const utf8 = Buffer.from(text);
  return Buffer.concat([Buffer.from([utf8.length >> 8, utf8.length & 255]), utf8]);
};

function packet(type: number, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const length: number[] = [];
  let rest = body.length;
  do {
    length.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest >>= 7;
  } while (rest > 0);
  return Buffer.concat([Buffer.from([type, ...length]), body]);
}

export class MqttClient extends WireClient {
  readonly #onPayload: PayloadListener | null;
  #resolve: (() => void) | null = null;
  #template: Buffer = Buffer.alloc(0);
  #identifierAt = 0;
  #payloadAt = 0;
  #publisher = 0;
  #reliable = false;
  sent = 0;
  acknowledged = 0;

  constructor(port: number, onPayload: PayloadListener | null) {
    super(port);
    this.#onPayload = onPayload;
  }

  async connect(clientId: string, cleanSession = true): Promise<void> {
    await this.opened;
    const flags = cleanSession ? 2 : 0;
    const keepAliveSeconds = 600;
    const variable = Buffer.from([4, flags, keepAliveSeconds >> 8, keepAliveSeconds & 255]);
    await this.#ask(packet(0x10, withLength('MQTT'), variable, withLength(clientId)));
  }

  async subscribe(filter: string, qos: 0 | 1): Promise<void> {
    await this.#ask(packet(0x82, Buffer.from([0, 1]), withLength(filter), Buffer.from([qos])));
  }

  #ask(request: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.send(request);
      this.flush();
    });
  }

  /** Fixes what `publish` sends. */
  preparePublish(publisher: number, topic: string, qos: 0 | 1, payloadBytes: number): void {
    const payload = Buffer.alloc(payloadBytes, 'abcdefghijklmnopqrstuvwxyz');
    const identifier = qos === 1 ? Buffer.from([0, 0]) : Buffer.alloc(0);
    this.#template = packet(0x30 | (qos << 1), withLength(topic), identifier, payload);
    this.#payloadAt = this.#template.length - payloadBytes;
    this.#identifierAt = this.#payloadAt - 2;
    this.#publisher = publisher;
    this.#reliable = qos === 1;
  }

  /** Appends `count` messages to the output; `flush` sends them. */
  publish(count: number): void {
    const sentAtUs = nowUs();
    for (let left = count; left > 0; left--) {
      const { buffer, at } = this.reserve(this.#template.length);
      this.#template.copy(buffer, at);
      if (this.#reliable) buffer.writeUInt16BE((this.sent % 65_535) + 1, at + this.#identifierAt);
      const head = at + this.#payloadAt;
      buffer.writeDoubleLE(sentAtUs, head);
      buffer.writeUInt32LE(this.#publisher, head + 8);
      buffer.writeUInt32LE(this.sent, head + 12);
      this.sent++;
    }
  }

  protected feed(bytes: Buffer, end: number): number {
    let at = 0;
    while (end - at >= 2) {
      let length = 0;
      let body = at + 1;
      let shift = 0;
      let last = 128;
      while (last > 127 && body < end && shift <= 21) {
        last = bytes[body++]!;
        length |= (last & 127) << shift;
        shift += 7;
      }
      if (last > 127 || body + length > end) break;
      this.#take(bytes[at]!, bytes, body);
      at = body + length;
    }
    return at;
  }

  #take(first: number, bytes: Buffer, body: number): void {
    switch (first >> 4) {
      case 3: {
        let payload = body + 2 + bytes.readUInt16BE(body);
        if ((first & 6) !== 0) {
          const { buffer, at } = this.reserve(4);
          buffer.writeUInt32BE((0x40020000 | bytes.readUInt16BE(payload)) >>> 0, at);
          payload += 2;
        }
        this.#onPayload?.(bytes, payload);
        return;
      }
      case 4:
        this.acknowledged++;
        return;
      case 2:
        if (bytes[body + 1] !== 0) throw new Error(`connection refused with code ${bytes[body + 1]}`);
        break;
      case 9:
        if (bytes[body + 2] === 128) throw new Error('subscription refused');
        break;
      default:
        return;
    }
    this.#resolve?.();
    this.#resolve = null;
  }
}
