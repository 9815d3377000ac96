/**
 * Door 2: what the host hands an adapter. An adapter sees bytes arriving, a place to write bytes to, somebody who
 * checks credentials, a logger and the core; it opens no socket, reads no file and keeps no timer of its own.
 */

import type { Clock, Core, Principal } from './core/index.ts';

/** Why a connection ended: a closed list, logged once for each connection and counted. */
export const CLOSE_REASONS = [
  'client-closed', // the peer ended it as its protocol says
  'connection-lost', // the socket ended without that
  'protocol-error', // malformed or out of turn; told where the protocol can
  'not-authorized', // credentials or rights refused
  'keep-alive-timeout',
  'handshake-timeout',
  'displaced', // the same client connected again
  'too-slow', // its output buffer passed the bound
  'limit-reached', // too many connections, too large a packet
  'administrative', // an operator ended it
  'shutting-down',
  'internal-error',
] as const;
export type CloseReason = (typeof CLOSE_REASONS)[number];

/**
 * The writing side of a connection. Everything written during one turn of the event loop leaves in one system
 * call when the turn is over.
 */
export interface Transport {
  /** Unique in the process. */
  readonly id: number;
  readonly listener: ListenerInfo;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** The address and port that the client dialled. */
  readonly localAddress: string;
  readonly localPort: number;
  /** The buffer that `reserve` last gave a place in; another one after each `reserve`. */
  readonly buffer: Buffer;
  /** Room for exactly `bytes` bytes in `buffer`, which the caller fills before the turn ends; returns where. */
  reserve(bytes: number): number;
  /** Small pieces are copied, large ones are kept until written and must not be changed. */
  write(bytes: Uint8Array): void;
  /** Bytes given to `reserve` and `write` that the kernel has not taken yet. */
  readonly pendingBytes: number;
  /** Stops and restarts `received`. */
  pause(): void;
  resume(): void;
  /**
   * Writes what is left, then ends. `received` is not called again; `closed` is, once, when this turn of the event
   * loop is over. The first reason given is the one that counts.
   */
  close(reason: CloseReason, detail?: string): void;
  /** Drops what is left and ends now; otherwise as `close`. */
  destroy(reason: CloseReason, detail?: string): void;
}

/** The reading side, implemented by an adapter's connection. */
export interface ConnectionHandler {
  /** Bytes as they came; the chunk may be kept, nobody else writes to it. */
  received(chunk: Buffer): void;
  /** `pendingBytes` has fallen below the listener's low mark after it was above the high mark. */
  drained(): void;
  /** The connection is over, whoever ended it. Called exactly once, also after `close` and `destroy`. */
  closed(reason: CloseReason): void;
  /** Tell the client, in its protocol, that it must go; then close. */
  disconnect(reason: 'administrative' | 'shutting-down'): void;
  /** For the management API. No secret in it. */
  describe(): ConnectionDescription;
}

export interface ConnectionDescription {
  /** The protocol's own name and version as people say it, for example "MQTT 5". */
  readonly protocol: string;
  readonly clientId: string;
  readonly user: string;
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

export interface ListenerInfo {
  readonly name: string;
  readonly transport: 'tcp' | 'websocket';
  /** Above this many pending bytes the handler should stop producing; `drained` follows below half of it. */
  readonly highWaterBytes: number;
}

/** One protocol's server. Built by its factory from its settings and a host. */
export interface Adapter {
  readonly name: string;
  /** Where to listen, from its settings. */
  readonly listeners: readonly ListenerSpec[];
  /** Called once before the first connection: declares what the protocol expects to exist. */
  start(): Promise<void>;
  connect(transport: Transport): ConnectionHandler;
  stop(): Promise<void>;
}

export interface ListenerSpec {
  readonly name: string;
  readonly transport: 'tcp' | 'websocket';
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** The setting that holds the port, for messages: unless given, `.port` after the name with `-` read as `.`. */
  readonly option?: string;
  /** WebSocket only: accepted paths and subprotocols, the first that the client offers is taken. */
  readonly path?: string;
  readonly subprotocols?: readonly string[];
  readonly connectionsMax: number;
  readonly highWaterBytes: number;
}

/** What an adapter is built with. */
export interface Host {
  readonly core: Core;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly authenticator: Authenticator;
  /** A stable random id of this gateway's data folder, for protocols that name their cluster. 16 bytes. */
  readonly clusterId: Uint8Array;
  /** Product version, as in package.json. */
  readonly version: string;
  /** Bound listeners by spec name, once the gateway listens: to tell clients where to come. */
  listening(name: string): { readonly host: string; readonly port: number } | undefined;
}

export interface Logger {
  debug(details: object, text: string): void;
  info(details: object, text: string): void;
  warn(details: object, text: string): void;
  error(details: object, text: string): void;
}

export type Credentials =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'password'; readonly user: string; readonly password: Uint8Array };

export interface Authenticator {
  /** Null: refused. Throws only when it could not be decided. */
  authenticate(
    credentials: Credentials,
    connection: ConnectionOrigin,
  ): Principal | null | Promise<Principal | null>;
}

export interface ConnectionOrigin {
  readonly listener: string;
  readonly remoteAddress: string;
  readonly localAddress: string;
}
