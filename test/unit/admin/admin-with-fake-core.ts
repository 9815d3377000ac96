/**
 * An HTTP API over a small fake of the core: real mapping rules and lists of plain objects. For tests of what the
 * API itself does; test/conformance/admin runs it over a real gateway.
 */

import { jsonFromMessage, patternFromFilter } from '../../../mappings/http.ts';
import { compileRule } from '../../../mappings/rules.ts';
import {
  type Admin,
  type AdminOptions,
  type ClientEntry,
  createAdmin,
  type HttpSettings,
  type ProtocolView,
  type ReadinessCheck,
} from '../../../src/admin/index.ts';
import {
  type Core,
  CoreError,
  DEFAULT_LIMITS,
  type MappingEntry,
  Message,
  newMappingCounters,
  Pattern,
  type Queue,
} from '../../../src/core/index.ts';
import { FakeBridges } from './fake-bridges.ts';

export const DEFAULT_SETTINGS: HttpSettings = {
  enabled: true,
  host: '127.0.0.1',
  port: 0,
  apiKeys: [],
  roles: {
    admin: { groups: [] },
    operator: { apiKeys: [], groups: [] },
    viewer: { apiKeys: [], groups: [] },
    publisher: { apiKeys: [], groups: [] },
  },
  allowedHosts: [],
  bodyBytesMax: 4_096,
  requestTimeoutMs: 10_000,
  connectionsMax: 100,
  subscribersMax: 2,
  loopDelayMsMax: 60_000,
  metricsObjectsMax: 2,
};

export class FakeGateway {
  readonly rules = new Map<string, MappingEntry>();
  readonly queues: Queue[] = [];
  readonly streams: { name: string; captures: Pattern[] }[] = [];
  readonly clients: ClientEntry[] = [];
  readonly bridges = new FakeBridges();
  readonly disconnected: number[] = [];
  readonly logged: unknown[] = [];
  checks: ReadinessCheck[] = [{ name: 'listeners', ok: true }];
  /** Thrown by `rules.put`. */
  failure: Error | null = null;
  users = { list: () => [], get: () => undefined } as unknown as AdminOptions['users'];
  /** What a change of a rule waits for. */
  beforePut: () => Promise<void> = () => Promise.resolve();
  admin!: Admin;

  async start(settings: Partial<HttpSettings> = {}): Promise<this> {
    this.admin = createAdmin(this.#options({ ...DEFAULT_SETTINGS, ...settings }));
    await this.admin.start();
    return this;
  }

  get url(): string {
    const { host, port } = this.admin.address!;
    return `http://${host}:${port}`;
  }

  async fetch(
    path: string,
    init?: RequestInit,
  ): Promise<{ status: number; headers: Headers; body: unknown }> {
    const response = await fetch(this.url + path, init);
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') === true;
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
  }

  put(path: string, body: unknown, headers: Record<string, string> = {}) {
    return this.fetch(path, {
      method: 'PUT',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    });
  }

  post(path: string, body: unknown) {
    return this.fetch(path, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    });
  }

  addQueue(name: string, readyCount = 0): void {
    this.queues.push({
      spec: {
        name,
        durable: true,
        autoDelete: false,
        owner: null,
        messagesMax: -1,
        bytesMax: -1,
        overflow: 'drop-oldest',
        messageTtlMs: -1,
        expiresMs: -1,
        deadLetter: null,
        arguments: [{ name: 'x-big', value: { kind: 'i64', value: 1n << 60n } }],
      },
      readyCount,
      unsettledCount: 0,
      consumerCount: 0,
    } as unknown as Queue);
  }

  #options(settings: HttpSettings): AdminOptions {
    const log = (details: object) => void this.logged.push(details);
    return {
      core: this.#core(),
      settings,
      version: '1.2.3',
      authenticator: { authenticate: () => null, isCurrent: () => true, onChange: () => {} },
      users: this.users,
      accessRules: { list: () => [], get: () => undefined } as unknown as AdminOptions['accessRules'],
      clock: { nowMs: () => 1_700_000_000_000 } as AdminOptions['clock'],
      logger: { debug: log, info: log, warn: log, error: log },
      protocols: [dotted],
      definitions: {
        argumentsOfQueue: () => [],
        capturesOfStream: () => [],
        settingsOfStream: (settings) => settings,
        importers: {
          mappings: {
            source: 'definitions of mappings by name',
            read: (json) => ({
              ...{ exchanges: [], queues: [], bindings: [], users: [], skipped: [], warnings: [] },
              mappings: Object.entries(json as object).map(([name, definition]) => ({ name, definition })),
            }),
          },
        },
      },
      streamLog: { segmentBytes: 65_536, retentionBytes: -1, retentionMs: -1 },
      compileRule,
      messageFromJson: (input, address) =>
        new Message({
          address,
          body: Buffer.from(input.body ?? ''),
          key: input.key === undefined ? null : Buffer.from(input.key),
        }),
      jsonFromMessage,
      patternFromFilter,
      bridges: this.bridges,
      clients: () => this.clients,
      disconnect: (id) => {
        if (!this.clients.some((each) => each.id === id)) return false;
        this.disconnected.push(id);
        return true;
      },
      settingsShown: () => [],
      readiness: () => this.checks,
      samples: () => [
        { name: 'listener_refused_total', help: 'x', kind: 'counter', labels: { listener: 'a' }, value: 3 },
      ],
    };
  }

  #core(): Core {
    const { rules } = this;
    return {
      limits: DEFAULT_LIMITS,
      counters: {
        published: 7,
        publishedBytes: 0,
        delivered: 0,
        noRoute: 0,
        refused: 0,
        dropped: 0,
        expired: 0,
        deadLettered: 0,
        commits: 0,
      },
      rules: {
        list: () => rules.entries(),
        get: (name: string) => rules.get(name),
        totals: newMappingCounters,
        remove: (name: string) => rules.delete(name),
        put: async (name: string, definition: unknown, options?: { dryRun: boolean }) => {
          if (this.failure !== null) throw this.failure;
          await this.beforePut();
          const rule = compileRule(definition);
          if (options?.dryRun !== true) rules.set(name, { definition, rule, counters: newMappingCounters() });
          return { created: [name], replaced: [], unchanged: [], removed: [], warnings: [] };
        },
      },
      queues: {
        list: () => this.queues,
        get: (name: string) => this.queues.find((queue) => queue.spec.name === name),
      },
      streams: {
        list: () =>
          this.streams.map(({ name, captures }) => ({
            spec: {
              name,
              captures,
              partitions: 1,
              log: { segmentBytes: 1, retentionBytes: -1, retentionMs: -1 },
              settings: {},
            },
            id: new Uint8Array(16),
            partitions: [{ index: 0, startOffset: 2, endOffset: 5, sizeBytes: 300 }],
          })),
        get: () => undefined,
      },
      exchanges: {
        list: () => [],
        get: () => undefined,
        bindings: () =>
          ['a', 'b', 'c'].map((key) => ({
            exchange: 'x',
            target: { kind: 'queue', name: 'q' },
            key,
            match: null,
            arguments: [],
          })),
      },
      sessions: {
        list: () => [],
        get: (id: string) =>
          id === 's/1'
            ? {
                id,
                durable: true,
                attached: false,
                queuedCount: 1,
                unsettledCount: 0,
                subscriptions: new Map([
                  [
                    'k',
                    {
                      pattern: Pattern.of('a/b'),
                      options: { reliability: 1, noLocal: false, keepRetain: false, id: 0 },
                    },
                  ],
                ]),
              }
            : undefined,
      },
      retained: { count: 4 },
      explain: (address: string) => [{ kind: 'queue', name: 'q', patterns: [address] }],
      whenStored: (done: (error: null) => void) => done(null),
    } as unknown as Core;
  }
}

/** A protocol whose names have dots for slashes and that reads streams. */
const dotted: ProtocolView = {
  protocol: 'dotted',
  readsStreams: true,
  addressFromName: (name) => {
    if (name.includes('/')) throw new CoreError('invalid-name', 'no slash in a name', { field: '/address' });
    return name.replaceAll('.', '/');
  },
  nameFromAddress: (address) => ({
    name: { topic: address.replaceAll('/', '.') },
    reason: 'dots for slashes',
  }),
  received: (message) => message,
  shown: (message, placements) => ({
    body: Buffer.from(message.body).toString(),
    streams: placements.map((placement) => placement.stream),
  }),
};
