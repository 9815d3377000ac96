/**
 * Two ends of quality of service 2 that keep their state across connections, as the specification asks of a client with
 * a session: what was not finished is sent again with its packet identifier, and what was received is not taken twice
 * (MQTT 5.0 sections 4.3.3 and 4.4). Packets are read and written by `mqtt-packet`. A connection that breaks is no error
 * here: the test opens the next one.
 */
import { connect, type Socket } from 'node:net';
import mqttPacket, { type Packet } from 'mqtt-packet';

const VERSION = 5;

abstract class Qos2End {
  readonly #clientId: string;
  #socket: Socket | null = null;
  /** Why the server said goodbye, or what it did wrong; stays empty in a test that passes. */
  readonly complaints: string[] = [];

  constructor(clientId: string) {
    this.#clientId = clientId;
  }

  get isConnected(): boolean {
    return this.#socket !== null;
  }

  /** Resolves when CONNACK has come. `present` is what it must say of the session; null where either is right. */
  async open(port: number, present: boolean | null): Promise<void> {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    const parser = mqttPacket.parser({ protocolVersion: VERSION });
    const accepted = new Promise<void>((resolve, reject) => {
      socket.on('error', reject);
      socket.on('close', () => {
        if (this.#socket === socket) this.#socket = null;
        reject(new Error('closed before CONNACK'));
      });
      parser.on('error', (error: Error) => this.complaints.push(error.message));
      parser.on('packet', (packet: Packet) => {
        if (packet.cmd !== 'connack') {
          this.take(packet);
          return;
        }
        if (packet.reasonCode !== 0) this.complaints.push(`CONNACK ${packet.reasonCode}`);
        if (present !== null && packet.sessionPresent !== present)
          this.complaints.push(`session present: ${packet.sessionPresent}`);
        this.#socket = socket;
        resolve();
      });
    });
    socket.on('data', (chunk) => parser.parse(chunk));
    socket.write(
      mqttPacket.generate({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: VERSION,
        clean: false,
        clientId: this.#clientId,
        keepalive: 60,
        properties: { sessionExpiryInterval: 3600 },
      }),
    );
    await accepted;
    this.opened();
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = null;
  }

  protected send(packet: Packet): void {
    this.#socket?.write(mqttPacket.generate(packet, { protocolVersion: VERSION }));
  }

  protected refused(packet: { readonly cmd?: string | null; readonly reasonCode?: number }): boolean {
    const { reasonCode } = packet;
    // 0x10: nobody subscribed; 0x92: the other end has already forgotten the identifier.
    if (reasonCode === undefined || reasonCode === 0 || reasonCode === 0x10 || reasonCode === 0x92)
      return false;
    this.complaints.push(`${packet.cmd} with reason ${reasonCode}`);
    return true;
  }

  protected abstract opened(): void;
  protected abstract take(packet: Packet): void;
}

interface Unfinished {
  readonly body: string;
  released: boolean;
}

export class Qos2Publisher extends Qos2End {
  readonly #name: string;
  readonly #topic: string;
  readonly #unfinished = new Map<number, Unfinished>();
  #nextId = 0;
  /** Messages given to the connection, each with a number of its own. */
  sent = 0;

  constructor(name: string, topic: string) {
    super(`qos2-${name}`);
    this.#name = name;
    this.#topic = topic;
  }

  get unfinishedCount(): number {
    return this.#unfinished.size;
  }

  publish(): void {
    do this.#nextId = (this.#nextId % 65_535) + 1;
    while (this.#unfinished.has(this.#nextId));
    const unfinished = { body: `${this.#name} ${this.sent++}`, released: false };
    this.#unfinished.set(this.#nextId, unfinished);
    this.#sendPublish(this.#nextId, unfinished, false);
  }

  #sendPublish(messageId: number, { body }: Unfinished, dup: boolean): void {
    const topic = this.#topic;
    this.send({ cmd: 'publish', topic, payload: body, qos: 2, dup, retain: false, messageId });
  }

  protected opened(): void {
    for (const [messageId, unfinished] of this.#unfinished) {
      if (unfinished.released) this.send({ cmd: 'pubrel', messageId });
      else this.#sendPublish(messageId, unfinished, true);
    }
  }

  protected take(packet: Packet): void {
    const { messageId = 0 } = packet;
    const unfinished = this.#unfinished.get(messageId);
    if (packet.cmd === 'pubrec') {
      if (this.refused(packet)) return;
      if (unfinished !== undefined) unfinished.released = true;
      this.send({ cmd: 'pubrel', messageId });
    } else if (packet.cmd === 'pubcomp') {
      if (unfinished?.released === false) this.complaints.push(`PUBCOMP before PUBREL of ${messageId}`);
      this.#unfinished.delete(messageId);
    } else this.complaints.push(`unexpected ${packet.cmd}`);
  }
}

export class Qos2Subscriber extends Qos2End {
  /** Identifiers whose message was taken and whose PUBREL has not come. */
  readonly #taken = new Set<number>();
  readonly received: string[] = [];
  #subscribed: (() => void) | null = null;

  constructor() {
    super('qos2-subscriber');
  }

  subscribe(topic: string): Promise<void> {
    return new Promise((resolve) => {
      this.#subscribed = resolve;
      this.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos: 2 }] });
    });
  }

  protected opened(): void {}

  protected take(packet: Packet): void {
    const { messageId = 0 } = packet;
    if (packet.cmd === 'publish') {
      if (packet.qos !== 2) this.complaints.push(`PUBLISH with QoS ${packet.qos}`);
      if (!this.#taken.has(messageId)) {
        this.#taken.add(messageId);
        this.received.push(packet.payload.toString());
      }
      this.send({ cmd: 'pubrec', messageId });
    } else if (packet.cmd === 'pubrel') {
      this.#taken.delete(messageId);
      this.send({ cmd: 'pubcomp', messageId });
    } else if (packet.cmd === 'suback') this.#subscribed?.();
    else this.complaints.push(`unexpected ${packet.cmd}`);
  }
}
