/**
 * Bridges as the HTTP API and the gateway see them: connections to outside brokers, and bridges that lead messages out
 * to one or in from one. What is defined in the configuration is read-only here; what is put through this interface is stored.
 */

import type { MappingCounters } from '../core/index.ts';
import type { BridgeDelivery, BridgeDirection, LinkFailure } from '../outside.ts';

/** The queue of what the other side refused for good, and of what a mapping could make nothing of. */
export const BRIDGE_DEAD_LETTERS = '$dlq/bridges';

/** Where a definition comes from; what is in the configuration is changed there. */
export type DefinitionOrigin = 'configuration' | 'stored';

export interface ConnectionView {
  readonly name: string;
  readonly origin: DefinitionOrigin;
  /** As it was put, every secret that is text as `{kept: true}`. */
  readonly definition: Readonly<Record<string, unknown>>;
  readonly bridges: readonly string[];
}

export const BRIDGE_STATES = [
  'connecting',
  'connected',
  'degraded',
  'disconnected',
  'paused',
  'failed',
] as const;

/**
 * `degraded`: connected, but what it sends is not taken, or what comes cannot be stored. `failed`: its stored definition cannot
 * be read, so it does nothing until it is put again; what waits in its buffer stays.
 */
export type BridgeState = (typeof BRIDGE_STATES)[number];

export interface BridgeStatus {
  readonly state: BridgeState;
  /** Since when it is in this state, milliseconds since 1970. */
  readonly sinceMs: number;
  /** Why it is not simply connected, for people; empty where there is nothing to say. */
  readonly reason: string;
  readonly failure: LinkFailure | null;
  /** When it tries again, milliseconds since 1970; null where it does not have to. */
  readonly retryAtMs: number | null;
  readonly attempts: number;
  /** The newest first, at most 10. */
  readonly errors: readonly { readonly timeMs: number; readonly text: string }[];
  readonly lag: {
    /** Waiting in the buffer or on their way. */
    readonly messages: number;
    readonly bytes: number;
    /** Age of the oldest of them; 0 without any. */
    readonly seconds: number;
  };
  readonly counters: BridgeCounters;
}

/**
 * Since the start of the gateway. At any time `taken = done + deadLettered + every number of dropped + refused +
 * lag.messages`, in both directions.
 */
export interface BridgeCounters {
  /** Out: put into the buffer, with what had waited there at the start. In: received. */
  readonly taken: number;
  /** Out: the outside has it. In: published and stored. */
  readonly done: number;
  readonly doneBytes: number;
  /** Sent again because an answer did not come. */
  readonly repeated: number;
  readonly deadLettered: number;
  /** In: given back, because it could not be stored. */
  readonly refused: number;
  readonly dropped: Readonly<Record<BridgeDropReason, number>>;
}

export const BRIDGE_DROP_REASONS = [
  'overflow', // the buffer is full and its policy drops
  'expired', // its time was over before it could be sent
  'loop', // it has been on the other side, or through too many gateways
  'unmapped', // in: no mapping takes it
  'mapping', // in: a mapping could not make something of it, and its onError is "drop"
  'lost', // out, at most once: it was sent, and the outside has not said that it has it
] as const;
export type BridgeDropReason = (typeof BRIDGE_DROP_REASONS)[number];

export interface BridgeView {
  readonly name: string;
  readonly origin: DefinitionOrigin;
  readonly definition: BridgeDefinition;
  readonly status: BridgeStatus;
  /** Of each mapping, in their order. */
  readonly mappings: readonly Readonly<MappingCounters>[];
}

/** Of a bridge that is `failed`: what of it can be read, the rest at its default, and `''` or `[]` where there is none. */
export interface BridgeDefinition {
  /** Name of a connection. */
  readonly connection: string;
  readonly direction: BridgeDirection;
  /** 1 to 64; the first that takes a message is the only one. */
  readonly mappings: readonly Readonly<Record<string, unknown>>[];
  readonly delivery: BridgeDelivery;
  readonly paused: boolean;
  /** The gateway is not ready while it is not connected. */
  readonly required: boolean;
  readonly buffer: {
    readonly bytesMax: number;
    readonly messagesMax: number;
    /** `block`: publishers are refused until there is room. */
    readonly overflow: 'block' | 'drop-oldest' | 'drop-new';
  };
  readonly batch: { readonly messagesMax: number; readonly bytesMax: number };
  readonly inFlightMax: number;
  readonly retry: { readonly minMs: number; readonly maxMs: number };
  /** The driver's own. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** What a try of a connection found. */
export interface ProbeResult {
  readonly ok: boolean;
  readonly failure: LinkFailure | null;
  readonly detail: string;
  readonly milliseconds: number;
}

export interface PutResult {
  readonly created: boolean;
  /** Of a dry run, which really connects. */
  readonly probe?: ProbeResult;
}

/**
 * Everything throws CoreError: `invalid-argument` with `field`, a JSON pointer into the definition; `not-found`; `in-use` for a
 * connection that bridges use or what the configuration defines; `limit-reached`.
 */
export interface Bridges {
  readonly connections: {
    list(): Iterable<ConnectionView>;
    get(name: string): ConnectionView | undefined;
    put(name: string, definition: unknown, options: { readonly dryRun: boolean }): Promise<PutResult>;
    /** `dryRun`: only refuses what it would refuse. */
    remove(name: string, options?: { readonly dryRun: boolean }): Promise<void>;
    probe(name: string): Promise<ProbeResult>;
  };
  list(): Iterable<BridgeView>;
  get(name: string): BridgeView | undefined;
  put(name: string, definition: unknown, options: { readonly dryRun: boolean }): Promise<PutResult>;
  /** With what waits in its buffer. `in-use` also where a mapping rule leads to it. */
  remove(name: string, options?: { readonly dryRun: boolean }): Promise<void>;
  /** Opens a link of its own, and closes it. */
  probe(name: string): Promise<ProbeResult>;
  pause(name: string): Promise<void>;
  resume(name: string): Promise<void>;
  /** Forgets what waits in its buffer, its counters and errors, and connects again. Returns how many messages went. */
  reset(name: string): Promise<number>;
}
