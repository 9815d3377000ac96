/**
 * The MQTT client of the load generator: 3.1.1 and 5, every quality of service, plain and over TLS. Publishers copy a
 * ready-made packet and patch its packet identifier and payload head; everything is acknowledged in one write for each
 * read. Every payload begins with a 16-byte head, so that order, loss and latency show at the receiver, whichever
 * protocol it speaks:
 *
 *   byte 0  f64 send time, microseconds   byte 8  u32 publisher   byte 12  u32 sequence      (little endian)
 */
import { nowUs } from './measure.ts';
import { WireClient } from './wire.ts';

export const HEAD_BYTES = 16;

/** Called for each payload received; `at` is where its head begins. */
export type PayloadListener = (bytes: Buffer, at: number) => void;

export type Qos = 0 | 1 | 2;

export interface MqttOptions {
  readonly version: 4 | 5;
  readonly tls: boolean;
  /** Null: no credentials are sent. */
  readonly login: { readonly user: string; readonly password: string } | null;
}

export const PLAIN: MqttOptions = { version: 4, tls: false, login: null };

export interface PublishShape {
  readonly publisher: number;
  /** They take turns. */
  readonly topics: readonly string[];
  readonly qos: Qos;
  readonly retain: boolean;
  readonly payloadBytes: number;
}

const withLength = (text: string): Buffer => {
  const utf8 = Buffer.from(text);
  return Buffer.concat([Buffer.from([utf8.length >> 8, utf8.length & 255]), utf8]);
};

/** What an application of MQTT 5 sends along: content type, message expiry and a user property. */
const PUBLISH_PROPERTIES = Buffer.concat([
  Buffer.from([0x03]),
  withLength('application/json'),
  Buffer.from([0x02, 0, 0, 14, 16]),
  Buffer.from([0x26]),
  withLength('site'),
  withLength('factory-1'),
]);

const NO_PROPERTIES = Buffer.from([0]);

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

interface Template {
  readonly bytes: Buffer;
  readonly identifierAt: number;
  readonly payloadAt: number;
}

export class MqttClient extends WireClient {
  readonly #onPayload: PayloadListener | null;
  readonly #options: MqttOptions;
  #resolve: (() => void) | null = null;
  #templates: Template[] = [];
  #publisher = 0;
  #reliable = false;
  sent = 0;
  acknowledged = 0;

  constructor(port: number, onPayload: PayloadListener | null, options = PLAIN) {
    super(port, options.tls);
    this.#onPayload = onPayload;
    this.#options = options;
  }

  async connect(clientId: string, cleanSession = true): Promise<void> {
    await this.opened;
    const { version, login } = this.#options;
    const flags = (cleanSession ? 2 : 0) | (login === null ? 0 : 0xc0);
    const keepAliveSeconds = 600;
    const variable = Buffer.from([version, flags, keepAliveSeconds >> 8, keepAliveSeconds & 255]);
    const credentials = login === null ? [] : [withLength(login.user), withLength(login.password)];
    const properties = version === 5 ? [NO_PROPERTIES] : [];
    await this.#ask(
      packet(0x10, withLength('MQTT'), variable, ...properties, withLength(clientId), ...credentials),
    );
  }

  async subscribe(filter: string, qos: Qos): Promise<void> {
    const properties = this.#options.version === 5 ? [NO_PROPERTIES] : [];
    await this.#ask(packet(0x82, Buffer.from([0, 1]), ...properties, withLength(filter), Buffer.from([qos])));
  }

  /** Says goodbye; `end` closes the socket where the broker does not. */
  disconnect(): void {
    this.send(Buffer.from([0xe0, 0]));
    this.end();
  }

  #ask(request: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.send(request);
      this.flush();
    });
  }

  /** Fixes what `publish` sends. */
  preparePublish({ publisher, topics, qos, retain, payloadBytes }: PublishShape): void {
    const payload = Buffer.alloc(payloadBytes, 'abcdefghijklmnopqrstuvwxyz');
    const identifier = Buffer.alloc(qos === 0 ? 0 : 2);
    const properties =
      this.#options.version === 5 ? [Buffer.from([PUBLISH_PROPERTIES.length]), PUBLISH_PROPERTIES] : [];
    const propertiesBytes = properties.reduce((sum, each) => sum + each.length, 0);
    this.#templates = topics.map((topic) => {
      const first = 0x30 | (qos << 1) | (retain ? 1 : 0);
      const bytes = packet(first, withLength(topic), identifier, ...properties, payload);
      const payloadAt = bytes.length - payloadBytes;
      return { bytes, payloadAt, identifierAt: payloadAt - propertiesBytes - 2 };
    });
    this.#publisher = publisher;
    this.#reliable = qos > 0;
  }

  /** Appends `count` messages to the output; `flush` sends them. */
  publish(count: number): void {
    const sentAtUs = nowUs();
    const templates = this.#templates;
    for (let left = count; left > 0; left--) {
      const template = templates[this.sent % templates.length]!;
      const { buffer, at } = this.reserve(template.bytes.length);
      template.bytes.copy(buffer, at);
      if (this.#reliable) buffer.writeUInt16BE((this.sent % 65_535) + 1, at + template.identifierAt);
      const head = at + template.payloadAt;
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
      case 3:
        this.#takePublish(first, bytes, body);
        return;
      case 5: // PUBREC
        this.#answer(0x62, bytes.readUInt16BE(body));
        return;
      case 6: // PUBREL
        this.#answer(0x70, bytes.readUInt16BE(body));
        return;
      case 4: // PUBACK
      case 7: // PUBCOMP
        this.acknowledged++;
        return;
      case 2:
        if (bytes[body + 1] !== 0) throw new Error(`connection refused with code ${bytes[body + 1]}`);
        break;
      case 9:
        if (bytes[body + (this.#options.version === 5 ? 3 : 2)]! >= 128)
          throw new Error('subscription refused');
        break;
      case 14:
        throw new Error(`disconnected with code ${bytes[body]}`);
      default:
        return;
    }
    this.#resolve?.();
    this.#resolve = null;
  }

  #takePublish(first: number, bytes: Buffer, body: number): void {
    let payload = body + 2 + bytes.readUInt16BE(body);
    const qos = (first >> 1) & 3;
    if (qos > 0) {
      this.#answer(qos === 1 ? 0x40 : 0x50, bytes.readUInt16BE(payload));
      payload += 2;
    }
    if (this.#options.version === 5) {
      let length = 0;
      let shift = 0;
      let last = 128;
      while (last > 127) {
        last = bytes[payload++]!;
        length |= (last & 127) << shift;
        shift += 7;
      }
      payload += length;
    }
    this.#onPayload?.(bytes, payload);
  }

  #answer(first: number, identifier: number): void {
    const { buffer, at } = this.reserve(4);
    buffer.writeUInt32BE(((first << 24) | 0x20000 | identifier) >>> 0, at);
  }
}
