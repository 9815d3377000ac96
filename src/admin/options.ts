/**
 * What the HTTP API is given by `src/gateway.ts`: the core, what is known of clients and readiness, and one view
 * for each protocol. The views are made beside the protocols' mappings and handed in by `src/main.ts`, so that
 * nothing here knows a protocol.
 */

import type { AccessRules } from '../auth/acl-rules.ts';
import type { Users } from '../auth/users.ts';
import type { Bridges } from '../bridges/index.ts';
import type {
  AnyRule,
  BatchLogOptions,
  Clock,
  Core,
  ExchangeBinding,
  ExchangeSpec,
  Header,
  Message,
  Pattern,
  QueueSpec,
  StreamSpec,
} from '../core/index.ts';
import type { ConnectionDescription, Logger } from '../host.ts';
import type { CallerAuthenticator } from './access.ts';
import type { HttpSettings } from './settings.ts';

export interface AdminOptions {
  readonly core: Core;
  readonly settings: HttpSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Product version, as in package.json. */
  readonly version: string;
  readonly users: Users;
  /** Who callers are that are no holders of keys. */
  readonly authenticator: CallerAuthenticator;
  readonly accessRules: AccessRules;
  /** To outside brokers. */
  readonly bridges: Bridges;
  readonly protocols: readonly ProtocolView[];
  /** How the protocols see queues and streams that are made here. */
  readonly definitions: ObjectDefinitions;
  /** How a stream is kept that says nothing of it. */
  readonly streamLog: BatchLogOptions;
  /** The same function that the core compiles stored rules with. */
  compileRule(definition: unknown): AnyRule;
  /** Throws CoreError `invalid-argument` with `field` pointing into `input`. */
  messageFromJson(input: MessageInput, address: string, nowMs: number): Message;
  /** As `MessageView` describes it. */
  jsonFromMessage(message: Message): object;
  /** `+` is one level, `#` any number of them. Throws CoreError `invalid-name`. */
  patternFromFilter(filter: string): Pattern;
  /** Whoever is connected to a protocol's listener. */
  clients(): Iterable<ClientEntry>;
  /** Ends a client's connection as its protocol does; false where there is none of that id. */
  disconnect(id: number): boolean;
  /** Every setting that applies, without secrets. */
  settingsShown(): Iterable<SettingEntry>;
  /** All must be ok for the gateway to be ready: listeners bound, storage taking writes, not draining. */
  readiness(): readonly ReadinessCheck[];
  /** Numbers of other parts, read at each scrape. */
  samples?(): Iterable<MetricSample>;
}

/** What a queue or stream that is made here has to say to clients of the protocols. Pure functions. */
export interface ObjectDefinitions {
  /** The arguments with which a client would have declared it, so that clients which do so find it the same. */
  argumentsOfQueue(spec: QueueSpec): readonly Header[];
  /** What a stream of this name keeps. Throws CoreError `invalid-name`. */
  capturesOfStream(name: string): readonly Pattern[];
  /** Readers of other brokers' definitions, by format. Throw CoreError `invalid-argument` for what is no such file. */
  readonly importers: Readonly<Record<string, DefinitionsImporter>>;
  /** A stream's settings, as far as a protocol has its own words for how the log is kept. */
  settingsOfStream(settings: StreamSpec['settings'], log: BatchLogOptions): StreamSpec['settings'];
}

export interface DefinitionsImporter {
  /** What writes such files, for people. */
  readonly source: string;
  read(json: unknown, vhost: string): ImportedDefinitions;
}

export interface ImportRemark {
  readonly kind: string;
  readonly name: string;
  readonly reason: string;
}

/** What another broker's file defines; what has no counterpart here is in `skipped`. */
export interface ImportedDefinitions {
  readonly exchanges: readonly ExchangeSpec[];
  readonly queues: readonly QueueSpec[];
  readonly bindings: readonly ExchangeBinding[];
  readonly users: readonly {
    readonly name: string;
    readonly passwordHash: string;
    readonly groups: readonly string[];
  }[];
  readonly mappings: readonly { readonly name: string; readonly definition: unknown }[];
  readonly skipped: readonly ImportRemark[];
  /** What is taken over and does not do quite the same here. */
  readonly warnings: readonly ImportRemark[];
}

/** A message as JSON, without its name. */
export interface MessageInput {
  /** Text; `bodyBase64` for bytes; neither is an empty body, null is none. */
  readonly body?: string | null;
  readonly bodyBase64?: string;
  /** Text. */
  readonly key?: string;
  readonly reliability?: 0 | 1 | 2;
  readonly retain?: boolean;
  readonly priority?: number;
  readonly expiryMs?: number;
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly headers?: readonly { readonly name: string; readonly kind?: string; readonly value?: unknown }[];
}

export interface ClientEntry {
  /** Of the connection: a client that comes again has another. */
  readonly id: number;
  readonly listener: string;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly connectedAtMs: number;
  readonly description: ConnectionDescription;
}

export interface SettingEntry {
  readonly name: string;
  /** Null where it is a secret that is set. */
  readonly value: unknown;
  readonly isSecret: boolean;
  /** The file and line, variable or flag that it came from, or `default`. */
  readonly origin: string;
}

export interface ReadinessCheck {
  readonly name: string;
  readonly ok: boolean;
  /** For people, where there is more to say. */
  readonly detail?: string;
}

/** One number of another part. Samples of one name have the same help, kind and label names. */
export interface MetricSample {
  /** Without the product's prefix, in Prometheus's style: `listener_refused_total`. */
  readonly name: string;
  readonly help: string;
  readonly kind: 'counter' | 'gauge';
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/** One protocol's script, for explanations. Pure functions. */
export interface ProtocolView {
  /** As it stands in requests and answers. */
  readonly protocol: string;
  /** Its clients read streams by name: a record's address may depend on the record's key. */
  readonly readsStreams: boolean;
  /**
   * The address that the protocol means by this name; `exchange` is given for protocols that have them. Throws
   * CoreError `invalid-name` or `invalid-argument`, with `field` `/address` or `/exchange`.
   */
  addressFromName(name: string, exchange: string | undefined): string;
  /** The name, in the protocol's own words, and why it is that. */
  nameFromAddress(address: string): ProtocolName;
  /** The message as the protocol's adapter would have built it from a client that sent the same. */
  received(message: Message, nowMs: number): Message;
  /** What a consumer would get, as JSON. `placements` are the records that the message becomes. */
  shown(message: Message, placements: readonly Placement[], nowMs: number): unknown;
}

export interface ProtocolName {
  readonly name: Readonly<Record<string, string>>;
  readonly reason: string;
}

/** Where a message is appended: which stream, with which key and because of what. */
export interface Placement {
  readonly stream: string;
  readonly key: Uint8Array | null;
  /** The mapping rule's name; null where the stream captures the address itself. */
  readonly rule: string | null;
}

export interface Admin {
  /** Listens. Throws where the settings would leave it open to others without a key. */
  start(): Promise<void>;
  /** Ends idle connections at once, others when their answer is sent. */
  stop(): Promise<void>;
  /** Where it listens, once started. */
  readonly address: { readonly host: string; readonly port: number } | null;
}
