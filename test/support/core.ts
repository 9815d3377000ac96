/** A core on a storage in memory and a clock turned by hand, and small consumers to look at what it does. */

import { createHmac } from 'node:crypto';
import { createCore } from '../../src/core/core.ts';
import type {
  Consumer,
  Core,
  CoreError,
  CoreEvent,
  CoreOptions,
  Delivery,
  Limits,
  MessageFields,
  QueueSpec,
  ReceiptSink,
} from '../../src/core/index.ts';
import { ALLOW_ALL, DEFAULT_LIMITS, Message } from '../../src/core/index.ts';
import { ManualClock } from './manual-clock.ts';
import { MemoryStorage } from './memory-storage.ts';

export class TestClock extends ManualClock {
  /** Lets the current turn end and what it began come to its end. */
  async turn(): Promise<void> {
    for (let i = 0; i < 4; i++) await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

export interface TestCore {
  readonly core: Core;
  readonly clock: TestClock;
  readonly storage: MemoryStorage;
  readonly events: CoreEvent[];
}

export async function openTestCore(
  options: {
    readonly storage?: MemoryStorage;
    readonly limits?: Partial<Limits>;
    readonly nowMs?: number;
    readonly core?: Partial<CoreOptions>;
  } = {},
): Promise<TestCore> {
  const clock = new TestClock(options.nowMs);
  const storage = options.storage ?? new MemoryStorage();
  const events: CoreEvent[] = [];
  const core = await createCore({
    storage,
    clock,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    access: ALLOW_ALL,
    records: {
      recordFromMessage: (message, _stream, key) => ({
        key,
        value: message.body,
        headers: [],
        timestampMs: 1,
      }),
      messageFromRecord: (record, address) =>
        new Message({ address, body: record.value ?? new Uint8Array(0) }),
    },
    codecs: [],
    addressFromStream: (stream) => stream.replaceAll('.', '/'),
    compileRule: () => {
      throw new Error('no rules in this test');
    },
    crc32c: () => 0,
    decompress: (_codec, bytes) => bytes,
    randomBytes: (count) => new Uint8Array(count),
    sealReply: (bytes) => createHmac('sha256', 'of this test').update(bytes).digest(),
    report: (event) => events.push(event),
    ...options.core,
  });
  return { core, clock, storage, events };
}

export function queueSpec(spec: Partial<QueueSpec> & { readonly name: string }): QueueSpec {
  return {
    durable: false,
    autoDelete: false,
    owner: null,
    messagesMax: -1,
    bytesMax: -1,
    overflow: 'drop-oldest',
    messageTtlMs: -1,
    expiresMs: -1,
    deadLetter: null,
    arguments: [],
    ...spec,
  };
}

export function messageTo(address: string, body: string, fields: Partial<MessageFields> = {}): Message {
  return new Message({ address, body: Buffer.from(body), ...fields });
}

export function bodyOf(message: Message): string {
  return Buffer.from(message.body).toString();
}

export interface Collector extends Consumer {
  readonly bodies: string[];
  readonly deliveries: Delivery[];
  readonly cancellations: string[];
}

/** Keeps what it is given. `then` runs after the delivery, in a later microtask, as an adapter's client would. */
export function collect(then?: (delivery: Delivery) => void): Collector {
  const bodies: string[] = [];
  const deliveries: Delivery[] = [];
  const cancellations: string[] = [];
  return {
    bodies,
    deliveries,
    cancellations,
    deliver(message, _options, delivery) {
      bodies.push(bodyOf(message));
      if (delivery === null) return;
      deliveries.push(delivery);
      if (then !== undefined) queueMicrotask(() => then(delivery));
    },
    cancelled: (reason) => cancellations.push(reason),
  };
}

export class ReceiptLog implements ReceiptSink {
  readonly tokensStored: number[] = [];
  readonly refusals: [token: number, code: string][] = [];

  stored(token: number): void {
    this.tokensStored.push(token);
  }

  refused(token: number, error: CoreError): void {
    this.refusals.push([token, error.code]);
  }
}
