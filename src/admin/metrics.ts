/**
 * Metrics in Prometheus's format. Nothing is counted here: the core and the other parts keep plain numbers, which
 * are read when somebody scrapes. Totals count everything; single queues and streams are shown up to a bound, so
 * that a million queues do not make a million time series. Used by `health-routes.ts`.
 */

import type { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, Registry } from 'prom-client';
import type { CoreCounters } from '../core/index.ts';
import type { AdminOptions, MetricSample } from './options.ts';

const PREFIX = 'rosettamq_';

const CORE_COUNTERS = {
  published: ['messages_published_total', 'Messages taken from publishers.'],
  publishedBytes: [
    'messages_published_bytes_total',
    'Bytes of the bodies of messages taken from publishers.',
  ],
  delivered: ['messages_delivered_total', 'Messages handed to consumers and sessions.'],
  noRoute: ['messages_unroutable_total', 'Messages that nobody and nothing wanted.'],
  refused: ['messages_refused_total', 'Messages refused to their publisher.'],
  dropped: ['messages_dropped_total', 'Messages dropped at a bound.'],
  expired: ['messages_expired_total', 'Messages that expired before delivery.'],
  deadLettered: ['messages_dead_lettered_total', 'Messages sent on as dead letters.'],
  repliesPassed: ['replies_total', 'Answers that came to the requester through a reply address.'],
  repliesLate: ['replies_late_total', 'Answers that came after their reply address had expired.'],
  repliesRefused: [
    'replies_refused_total',
    'Answers to reply addresses that were never given, or not allowed.',
  ],
  repliesUnnamed: ['replies_unnamed_total', 'Requests without a reply address, for no more could be kept.'],
  commits: ['storage_commits_total', 'Group commits to disk.'],
} as const satisfies Record<keyof CoreCounters, readonly [name: string, help: string]>;

type DelayHistogram = ReturnType<typeof monitorEventLoopDelay>;
type Labels = Readonly<Record<string, string>>;

export class Metrics {
  readonly #options: AdminOptions;
  readonly #delay: DelayHistogram;
  readonly #registry = new Registry();
  readonly #metrics = new Map<string, Counter | Gauge>();

  /** `delay` is the event loop's, owned by the caller. */
  constructor(options: AdminOptions, delay: DelayHistogram) {
    this.#options = options;
    this.#delay = delay;
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Everything as it is now. */
  async render(): Promise<string> {
    // Labels of what is gone must not stay.
    for (const metric of this.#metrics.values()) metric.reset();
    this.#collectProcess();
    this.#collectCore();
    this.#collectQueues();
    this.#collectStreams();
    this.#collectMappings();
    for (const sample of this.#options.samples?.() ?? []) this.#set(`${PREFIX}${sample.name}`, sample);
    return this.#registry.metrics();
  }

  #collectProcess(): void {
    const cpu = process.cpuUsage();
    const memory = process.memoryUsage();
    this.#count(
      'process_cpu_seconds_total',
      'CPU time used, user and system.',
      (cpu.user + cpu.system) / 1e6,
    );
    this.#gauge('process_resident_memory_bytes', 'Resident memory.', memory.rss);
    this.#gauge(
      'process_start_time_seconds',
      'Start of the process.',
      this.#options.clock.nowMs() / 1e3 - process.uptime(),
    );
    this.#gauge('nodejs_heap_size_used_bytes', 'JavaScript heap in use.', memory.heapUsed);
    this.#gauge('nodejs_external_memory_bytes', 'Memory held outside the JavaScript heap.', memory.external);
    // An empty histogram says NaN.
    const delay = Number.isNaN(this.#delay.mean) ? 0 : this.#delay.percentile(99) / 1e9;
    this.#gauge(
      'nodejs_eventloop_delay_p99_seconds',
      'Delay of the event loop since /livez was last asked.',
      delay,
    );
    this.#gauge(`${PREFIX}info`, 'The running version.', 1, { version: this.#options.version });
  }

  #collectCore(): void {
    const { core } = this.#options;
    for (const field of Object.keys(CORE_COUNTERS) as (keyof CoreCounters)[]) {
      const [name, help] = CORE_COUNTERS[field];
      this.#count(`${PREFIX}${name}`, help, core.counters[field]);
    }
    this.#gauge(`${PREFIX}retained_messages`, 'Addresses that remember a message.', core.retained.count);
    let sessions = 0;
    let attached = 0;
    let queued = 0;
    for (const session of core.sessions.list()) {
      sessions++;
      queued += session.queuedCount;
      if (session.attached) attached++;
    }
    this.#gauge(`${PREFIX}sessions`, 'Sessions.', sessions);
    this.#gauge(`${PREFIX}sessions_attached`, 'Sessions whose client is connected.', attached);
    this.#gauge(`${PREFIX}session_messages_queued`, 'Messages waiting in all sessions.', queued);
  }

  #collectMappings(): void {
    const { dropped, in: came, inFlight, ...others } = this.#options.core.rules.totals();
    const name = `${PREFIX}mapping_messages_total`;
    const help =
      'What became of messages that mappings were given; all of it together is what they were given.';
    for (const [outcome, count] of Object.entries(others))
      this.#count(name, help, count, { outcome, reason: '' });
    for (const [reason, count] of Object.entries(dropped))
      this.#count(name, help, count, { outcome: 'dropped', reason });
    this.#count(`${PREFIX}mapping_messages_in_total`, 'Messages that mappings were given.', came);
    this.#gauge(
      `${PREFIX}mapping_messages_in_flight`,
      'Messages that mappings made and nobody has yet.',
      inFlight,
    );
  }

  #collectQueues(): void {
    let queues = 0;
    let ready = 0;
    let unsettled = 0;
    let consumers = 0;
    for (const queue of this.#options.core.queues.list()) {
      ready += queue.readyCount;
      unsettled += queue.unsettledCount;
      consumers += queue.consumerCount;
      if (queues++ >= this.#options.settings.metricsObjectsMax) continue;
      const labels = { queue: queue.spec.name };
      this.#gauge(`${PREFIX}queue_messages_ready`, 'Messages waiting, by queue.', queue.readyCount, labels);
      const help = 'Messages handed out and not settled, by queue.';
      this.#gauge(`${PREFIX}queue_messages_unsettled`, help, queue.unsettledCount, labels);
      this.#gauge(`${PREFIX}queue_consumers`, 'Consumers, by queue.', queue.consumerCount, labels);
    }
    this.#gauge(`${PREFIX}queues`, 'Queues.', queues);
    this.#gauge(`${PREFIX}queues_messages_ready`, 'Messages waiting in all queues.', ready);
    this.#gauge(`${PREFIX}queues_messages_unsettled`, 'Messages of all queues not settled.', unsettled);
    this.#gauge(`${PREFIX}queues_consumers`, 'Consumers of all queues.', consumers);
  }

  #collectStreams(): void {
    let streams = 0;
    let bytes = 0;
    for (const stream of this.#options.core.streams.list()) {
      let size = 0;
      let records = 0;
      for (const partition of stream.partitions) {
        size += partition.sizeBytes;
        records += partition.endOffset - partition.startOffset;
      }
      bytes += size;
      if (streams++ >= this.#options.settings.metricsObjectsMax) continue;
      const labels = { stream: stream.spec.name };
      this.#gauge(`${PREFIX}stream_size_bytes`, 'Bytes on disk, by stream.', size, labels);
      this.#gauge(
        `${PREFIX}stream_records`,
        'Records between first and last offset, by stream.',
        records,
        labels,
      );
    }
    this.#gauge(`${PREFIX}streams`, 'Streams.', streams);
    this.#gauge(`${PREFIX}streams_size_bytes`, 'Bytes of all streams on disk.', bytes);
  }

  #gauge(name: string, help: string, value: number, labels: Labels = {}): void {
    this.#set(name, { name, help, kind: 'gauge', value, labels });
  }

  #count(name: string, help: string, value: number, labels: Labels = {}): void {
    this.#set(name, { name, help, kind: 'counter', value, labels });
  }

  /** Counters were reset before the scrape began, so adding the whole value sets it. */
  #set(name: string, sample: MetricSample): void {
    const labels = sample.labels ?? {};
    let metric = this.#metrics.get(name);
    if (metric === undefined) {
      const { help, kind } = sample;
      const configuration = { name, help, labelNames: Object.keys(labels), registers: [this.#registry] };
      metric = kind === 'counter' ? new Counter(configuration) : new Gauge(configuration);
      this.#metrics.set(name, metric);
    }
    metric.inc(labels, sample.value);
  }
}
