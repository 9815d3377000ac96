/**
 * Door 2: what the host hands an adapter. An adapter sees bytes arriving, a place to write bytes to, somebody who
 * checks credentials, a logger and the core; it opens no socket, reads no file and keeps no timer of its own.
 */

import type { Clock, Core, Principal } from './core/index.ts';

export { clientNetworkOf } from './client-network.ts';
export {
  proxyProtocolSetting,
  socketFileSettings,
  tlsListenerProperties,
  tlsListenerSettings,
} from './listener-settings.ts';
export { type Static, type TSchema, Type } from './schema-types.ts';

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
  /** What the client proved with its TLS certificate; null without one. */
  readonly certificate: ClientCertificate | null;
  /** The buffer that `reserve` last gave a place in; another one after each `reserve`. */
  readonly buffer: Buffer;
  /** Room for exactly `bytes` bytes in `buffer`, which the caller fills before the turn ends; returns where. */
  reserve(bytes: number): number;
  /** Small pieces are copied, large ones are kept until written and must not be changed. */
  write(bytes: Uint8Array): void;
  /** As `write`, of a part of a chunk that nobody writes to again. Parts that follow each other there leave as one. */
  pass(chunk: Buffer, start: number, end: number): void;
  /**
   * In the middle of much input: what connections were given to send so far leaves now, if this is one of them, because the
   * client may go on with its answers, and if they are few.
   */
  flushEarly(): void;
  /** Bytes given to `reserve`, `write` and `pass` that the kernel has not taken yet. */
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

/** A client's certificate, verified against the listener's authorities. */
export interface ClientCertificate {
  readonly commonName: string;
  /** Subject alternative names, in the certificate's order. */
  readonly alternativeNames: readonly {
    readonly kind: 'dns' | 'email' | 'uri' | 'ip';
    readonly value: string;
  }[];
  /** SHA-256 of the certificate, lower-case hex without colons. */
  readonly fingerprint: string;
  /** Milliseconds since 1970 after which it proves nothing any more; absent: it has no such end. */
  readonly expiresAtMs?: number;
}

/** Why the gateway itself ends a connection. `not-authorized`: who it was let in as may not be here any more. */
export type DisconnectReason = 'administrative' | 'shutting-down' | 'not-authorized';

/** The reading side, implemented by an adapter's connection. */
export interface ConnectionHandler {
  /** Bytes as they came; the chunk may be kept, nobody else writes to it. */
  received(chunk: Buffer): void;
  /** `pendingBytes` has fallen below the listener's low mark after it was above the high mark. */
  drained(): void;
  /** The connection is over, whoever ended it. Called exactly once, also after `close` and `destroy`. */
  closed(reason: CloseReason): void;
  /**
   * The gateway is about to stop: nothing is begun any more that the client would have to acknowledge. `done` is called,
   * once, when what is under way is settled in both directions; the client is told to go in the same turn. It may come
   * before that without it, when the time is up. Absent: nothing is ever under way.
   */
  settle?(done: () => void): void;
  /** Tell the client, in its protocol, that it must go; then close. */
  disconnect(reason: DisconnectReason): void;
  /** Who it serves; null until that is known. */
  readonly identity: Principal | null;
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

/** How a connection looks to whoever checks credentials. */
export function originOf(transport: Transport, clientId: string): ConnectionOrigin {
  const { listener, remoteAddress, localAddress, certificate } = transport;
  return { listener: listener.name, remoteAddress, localAddress, certificate, clientId };
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
  /** With TLS, when the gateway has a certificate; without one such a listener does not open. */
  readonly tls?: { readonly clientCertificate: 'none' | 'request' | 'require' };
  /** A proxy tells in front of each connection whose it is. */
  readonly proxyProtocol?: boolean;
  /** A Unix domain socket instead of host and port, and the mode of its file. */
  readonly socketFile?: { readonly path: string; readonly mode: number };
  /**
   * WebSocket only: bytes that a client may send ahead of what was given to `received` until the handler knows who it
   * is. Absent: as many as afterwards.
   */
  readonly unknownBytesMax?: number;
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
  /** The gateway has been told to stop: clients still come, and had better go elsewhere. Absent: never. */
  isDraining?(): boolean;
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
  | { readonly kind: 'password'; readonly user: string; readonly password: Uint8Array }
  /** The certificate of the connection says who it is; `user` is what the client asks to be, empty for nobody. */
  | { readonly kind: 'certificate'; readonly user: string };

export interface Authenticator {
  /** No user is defined: whoever is let in is believed who it says it is. Absent: false. */
  readonly trusting?: boolean;
  /** Null: refused. Throws only when it could not be decided. */
  authenticate(
    credentials: Credentials,
    connection: ConnectionOrigin,
  ): Principal | null | Promise<Principal | null>;
  /** Names of the challenge-response mechanisms (SASL) that `begin` knows now, strongest first. */
  readonly mechanisms: readonly string[];
  /** Null: no such mechanism. */
  begin(mechanism: string, connection: ConnectionOrigin): SaslExchange | null;
  /** False where this principal would not be let in any more: its user is gone, changed, or its token has expired. */
  isCurrent(principal: Principal): boolean;
  /** Calls `listener` whenever `isCurrent` may have changed. */
  onChange(listener: () => void): void;
}

/** One run of a challenge-response mechanism; used once. */
export interface SaslExchange {
  /** The client's next message; the first may be empty where the mechanism lets the server begin. */
  step(message: Uint8Array): SaslStep | Promise<SaslStep>;
}

export type SaslStep =
  | { readonly outcome: 'continue'; readonly message: Uint8Array }
  | { readonly outcome: 'accepted'; readonly message: Uint8Array; readonly principal: Principal }
  | { readonly outcome: 'refused' };

export interface ConnectionOrigin {
  readonly listener: string;
  readonly remoteAddress: string;
  readonly localAddress: string;
  readonly certificate: ClientCertificate | null;
  /** What the client calls itself, where it says so before it is authenticated; else empty. */
  readonly clientId: string;
}
