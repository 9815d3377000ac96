/** The devices of the benchmark of bridges: what they publish, and what of it came where it was bridged to. */
import { Histogram, nowUs } from './measure.ts';
import { MqttClient } from './mqtt-client.ts';

export const DEVICES = 100;
export const PAYLOAD_BYTES = 128;
/** Unacknowledged messages of one device. */
const WINDOW = 500;
/** Messages of one device in a row. */
const BURST = 8;
const TICK_MS = 5;

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class Fleet {
  readonly #devices: readonly MqttClient[];

  private constructor(devices: readonly MqttClient[]) {
    this.#devices = devices;
  }

  static async connect(port: number): Promise<Fleet> {
    const devices: MqttClient[] = [];
    for (let device = 0; device < DEVICES; device++) {
      const client = new MqttClient(port, null);
      await client.connect(`device-${device}`);
      client.preparePublish({
        publisher: device,
        topics: [`devices/d${device}/telemetry`],
        qos: 1,
        retain: false,
        payloadBytes: PAYLOAD_BYTES,
      });
      client.autoFlush = false;
      devices.push(client);
    }
    return new Fleet(devices);
  }

  get sent(): number {
    return this.#devices.reduce((sum, { sent }) => sum + sent, 0);
  }

  get acknowledged(): number {
    return this.#devices.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
  }

  /** For so many seconds, so many messages a second; what is refused or slow only makes it later, never fewer. */
  async publish(seconds: number, rate: number): Promise<void> {
    const beginUs = nowUs();
    let sent = 0;
    let turn = 0;
    for (let elapsed = 0; elapsed < seconds; elapsed = (nowUs() - beginUs) / 1e6) {
      let due = Math.floor(elapsed * rate) - sent;
      for (let tried = 0; tried < DEVICES && due > 0; tried++) {
        const client = this.#devices[turn++ % DEVICES] as MqttClient;
        const count = Math.min(due, BURST, WINDOW - (client.sent - client.acknowledged));
        if (count <= 0 || client.blocked) continue;
        client.publish(count);
        due -= count;
        sent += count;
      }
      for (const client of this.#devices) client.flush();
      await pause(TICK_MS);
    }
  }

  end(): void {
    for (const client of this.#devices) client.end();
  }
}

/** Which messages of each device came, how often and in which order. */
export class Arrivals {
  /** From before the write of each to its first arrival, in microseconds. */
  readonly latencies = new Histogram();
  readonly #seen: Uint8Array[] = [];
  readonly #next: number[] = [];
  unique = 0;
  doubled = 0;
  disorder = 0;

  constructor(sequencesMax: number) {
    for (let device = 0; device < DEVICES; device++) {
      this.#seen.push(new Uint8Array(sequencesMax));
      this.#next.push(0);
    }
  }

  take(device: number, sequence: number, sentUs: number): void {
    const seen = this.#seen[device] as Uint8Array;
    if (seen[sequence] === 1) {
      this.doubled++;
      return;
    }
    seen[sequence] = 1;
    this.unique++;
    const next = this.#next[device] as number;
    // One that comes after a later one of its device.
    if (sequence < next) this.disorder++;
    else this.#next[device] = sequence + 1;
    this.latencies.add(nowUs() - sentUs);
  }
}
