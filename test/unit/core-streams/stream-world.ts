/** A core's stream half on memory, with the smallest record codec: the message's body and key, nothing else. */

import { crc32c } from '@node-rs/crc32';
import { encodeBatch } from '../../../src/core/batch-builder.ts';
import { decodeRecords, iterateBatches, type PlacedRecord } from '../../../src/core/batch-records.ts';
import { CursorTable } from '../../../src/core/cursors.ts';
import { Durability } from '../../../src/core/durability.ts';
import {
  type CoreCounters,
  type CoreEvent,
  DEFAULT_LIMITS,
  type Limits,
  type MappingRule,
  Message,
  ONE,
  Pattern,
  type ReceiptSink,
  type RecordCodec,
  type StreamRecord,
  type StreamSpec,
} from '../../../src/core/index.ts';
import { MappingRuleTable } from '../../../src/core/mapping-rules.ts';
import { MappingRunner } from '../../../src/core/mapping-runner.ts';
import { type Acceptance, type Destination, Router, TAKEN, WRITTEN } from '../../../src/core/router.ts';
import { DEFAULT_STREAM_LOG, StreamRegistry } from '../../../src/core/streams.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryStorage } from '../../support/memory-storage.ts';

export const crc = (bytes: Uint8Array): number => crc32c(bytes as Buffer);
export const NO_COMPRESSION = {
  bytesMax: 1 << 30,
  decompress: (): Uint8Array => {
    throw new Error('not compressed');
  },
};

export const plainRecords: RecordCodec = {
  recordFromMessage: (message, _stream, key) => ({
    key,
    value: message.body,
    headers: [],
    timestampMs: message.timestampMs,
  }),
  messageFromRecord: (record, address) =>
    new Message({ address, body: record.value ?? new Uint8Array(0), key: record.key, reliability: 1 }),
};

/** `{ match: "devices/+/telemetry", stream, partitions }`: the one wildcard level is the key, and leads back. */
export function compileTestRule(definition: unknown): MappingRule {
  const { match, stream, partitions, keyless } = definition as {
    match: string;
    stream: string;
    partitions: number;
    keyless?: boolean;
  };
  if (typeof match !== 'string') throw new Error('match is missing');
  const levels = match.split('/');
  const at = levels.indexOf('+');
  return {
    pattern: new Pattern(levels.map((level) => (level === '+' ? ONE : level))),
    stream,
    partitions,
    keyOf: (address) => (keyless === true || at < 0 ? null : Buffer.from(address.split('/')[at] as string)),
    addressOf: (key) =>
      key === null || at < 0 ? null : levels.with(at, Buffer.from(key).toString('utf8')).join('/'),
  };
}

/** A destination that keeps what it gets. */
export class Collector implements Destination {
  readonly kind = 'queue';
  readonly name: string;
  readonly messages: Message[] = [];

  constructor(name: string) {
    this.name = name;
  }

  accept(message: Message): Acceptance {
    this.messages.push(message);
    return TAKEN;
  }

  get seen(): string[] {
    return this.messages.map(({ address, body }) => `${address}=${Buffer.from(body).toString()}`);
  }
}

export class Receipts implements ReceiptSink {
  readonly storedTokens: number[] = [];
  readonly refusedTokens: number[] = [];

  stored(token: number): void {
    this.storedTokens.push(token);
  }

  refused(token: number): void {
    this.refusedTokens.push(token);
  }
}

export interface World {
  readonly storage: MemoryStorage;
  readonly clock: ManualClock;
  readonly durability: Durability;
  readonly router: Router;
  readonly counters: CoreCounters;
  readonly cursors: CursorTable;
  readonly streams: StreamRegistry;
  readonly rules: MappingRuleTable;
  readonly events: CoreEvent[];
  readonly decompressed: number[];
  /** Messages that records became. */
  readonly published: Message[];
}

export async function openWorld(
  storage = new MemoryStorage(),
  limits: Partial<Limits> = {},
  records: RecordCodec = plainRecords,
): Promise<World> {
  const clock = new ManualClock();
  const counters: CoreCounters = {
    published: 0,
    publishedBytes: 0,
    delivered: 0,
    noRoute: 0,
    refused: 0,
    dropped: 0,
    expired: 0,
    deadLettered: 0,
    repliesPassed: 0,
    repliesLate: 0,
    repliesRefused: 0,
    repliesUnnamed: 0,
    commits: 0,
  };
  const durability = new Durability(storage, clock, counters);
  const router = new Router(1_000);
  const events: CoreEvent[] = [];
  const decompressed: number[] = [];
  const published: Message[] = [];
  const all = { ...DEFAULT_LIMITS, ...limits };
  const parts = { storage, durability, clock, limits: all, router, counters };
  const addressFromStream = (stream: string) => stream.replaceAll('.', '/');
  const report = (event: CoreEvent) => void events.push(event);
  const cursors = new CursorTable(parts);
  const streams = new StreamRegistry({
    ...parts,
    records,
    cursors,
    addressFromStream,
    report,
    crc32c: crc,
    // The only "compression" here turns every bit round.
    decompress: (codec, bytes, bytesMax) => {
      decompressed.push(codec);
      if (bytes.length > bytesMax) throw new Error('above the bound');
      return bytes.map((byte) => byte ^ 0xff);
    },
    randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
    publishRecord: (message, except) => {
      published.push(message);
      return publish(router, message, except);
    },
  });
  const noQueues = (): never => {
    throw new Error('no queues in this test');
  };
  const randomBytes = (count: number) => crypto.getRandomValues(new Uint8Array(count));
  const stream = (name: string) => streams.get(name);
  const rules = new MappingRuleTable({
    ...parts,
    streams,
    runner: new MappingRunner({ ...parts, randomBytes, stream, queue: noQueues, outlet: () => undefined }),
    provideQueue: noQueues,
    isBridge: () => false,
    compileRule: compileTestRule,
    addressFromStream,
    streamLog: DEFAULT_STREAM_LOG,
    report,
  });
  await cursors.load();
  await streams.load();
  await rules.load();
  const seen = { events, decompressed, published };
  return { storage, clock, durability, router, counters, cursors, streams, rules, ...seen };
}

/** Routes as the core does, without access, retain and receipts. */
export function publish(router: Router, message: Message, except: Destination | null = null): boolean {
  let written = false;
  for (const route of router.routes(message.address).routes) {
    if (route.destination !== except && route.destination.accept(message, route) === WRITTEN) written = true;
  }
  return written;
}

export function text(address: string, body: string, key: string | null = null): Message {
  return new Message({
    address,
    body: Buffer.from(body),
    key: key === null ? null : Buffer.from(key),
    reliability: 1,
    timestampMs: 1_700_000_000_000,
  });
}

export function spec(name: string, changes: Partial<StreamSpec> = {}): StreamSpec {
  return {
    name,
    partitions: 1,
    captures: [Pattern.of(name.replaceAll('.', '/'))],
    log: DEFAULT_STREAM_LOG,
    settings: {},
    ...changes,
  };
}

export function record(value: string, key: string | null = null): StreamRecord {
  return {
    key: key === null ? null : Buffer.from(key),
    value: Buffer.from(value),
    headers: [],
    timestampMs: 1_700_000_000_000,
  };
}

export function batchOf(values: readonly string[], key: string | null = null): Buffer {
  return encodeBatch(
    values.map((value) => record(value, key)),
    crc,
  );
}

export function producerBatch(id: bigint, epoch: number, baseSequence: number, count = 1): Buffer {
  const records = Array.from({ length: count }, (_, i) => record(`${baseSequence + i}`));
  return encodeBatch(records, crc, { id, epoch, baseSequence });
}

/** Marks a batch as compressed with the test's codec 1 and makes its checksum right again. */
export function compressBatch(batch: Buffer): Buffer {
  const compressed = Buffer.from(batch);
  for (let i = 61; i < compressed.length; i++) compressed[i] = (compressed[i] as number) ^ 0xff;
  compressed.writeInt16BE(1, 21);
  return restamp(compressed);
}

export function restamp(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc(batch.subarray(21)), 17);
  return batch;
}

export function decodeAll(bytes: Buffer): PlacedRecord[] {
  return [...iterateBatches(bytes)].flatMap((batch) => decodeRecords(batch, NO_COMPRESSION));
}

export async function readValues(world: World, stream: string, partition = 0): Promise<string[]> {
  const part = world.streams.get(stream)?.partitions[partition];
  if (part === undefined) throw new Error(`no partition ${partition} of ${stream}`);
  const bytes = await part.read(part.startOffset, 1 << 30);
  return decodeAll(bytes).map(({ value }) => Buffer.from(value ?? []).toString());
}

/** Until everything that waits for the disk has heard from it. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5));
}
