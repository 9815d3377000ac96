/**
 * One client connection: cuts bytes into requests, starts them in order and sends answers in that order. As in Kafka
 * itself a request begins when those before it are answered; only Produce requests follow each other without
 * waiting, because what they wait for is the disk. So one connection holds few answers, and what a client may expect
 * of the order of effects holds. What cannot start yet stays unread: the socket is paused.
 */

import type { Principal, Publisher, Timer } from '../../src/core/index.ts';
import {
  type CloseReason,
  type ConnectionDescription,
  type ConnectionHandler,
  type ConnectionOrigin,
  type DisconnectReason,
  originOf,
  type Transport,
} from '../../src/host.ts';
import { Call, type CallOwner, type RequestHeader } from './call.ts';
import { FrameReader } from './codec/frame-reader.ts';
import { MalformedRequest, Reader } from './codec/reader.ts';
import { UnansweredError } from './errors.ts';
import {
  API_VERSIONS_KEY,
  answerUnknownVersion,
  ENDPOINTS,
  isBeforeAuthentication,
} from './handlers/index.ts';
import type { KafkaServices, SaslRun } from './services.ts';
import type { FetchSession } from './state/fetch-session.ts';
import { Receipts } from './state/receipts.ts';

const PRODUCE_KEY = 0;
/** Fetch, JoinGroup, SyncGroup: they may take as long as other clients do. */
const WAITING_FOR_OTHERS: ReadonlySet<number> = new Set([1, 11, 14]);

/** For requests that are on their way when the gateway stops. */
const LAST_REQUESTS_MS = 200;

const NO_CLIENT_ID = '';
const NO_FRAME: Buffer = Buffer.alloc(0);

export class KafkaConnection implements ConnectionHandler, CallOwner {
  readonly services: KafkaServices;
  readonly receipts = new Receipts();
  fetchSession: FetchSession | null = null;
  sasl: SaslRun | null = null;
  software = '';
  isGone = false;
  isLeaving = false;
  readonly #transport: Transport;
  readonly #frames: FrameReader;
  /** Requests that have arrived and not begun. */
  #waiting: Buffer[] = [];
  /** Requests that have begun, oldest first. */
  #calls: Call[] = [];
  #callBytes = 0;
  #onlyProduces = true;
  #pumping = false;
  #paused = false;
  #congested = false;
  #authenticating = false;
  /** The transport was told to close, or has closed: nothing begins any more. */
  #ending = false;
  /** Why it ends when what has begun is answered; until then nothing more begins. */
  #lastWords: { readonly reason: CloseReason; readonly detail?: string } | null = null;
  #principal: Principal | null = null;
  #publisher: Publisher | null = null;
  #clientId = NO_CLIENT_ID;
  #lastActiveMs: number;
  #idleTimer: Timer;
  readonly #closeTasks = new Set<() => void>();

  constructor(services: KafkaServices, transport: Transport) {
    this.services = services;
    this.#transport = transport;
    this.#frames = new FrameReader({
      produceBytesMax: services.settings.produceBytesMax,
      requestBytesMax: services.settings.requestBytesMax,
      reserve: (bytes) => {
        if (services.unfinishedBytes + bytes > services.settings.unfinishedBytesMax) {
          throw new MalformedRequest('too many bytes of unfinished requests (unfinishedBytesMax)');
        }
        services.unfinishedBytes += bytes;
      },
      release: (bytes) => {
        services.unfinishedBytes -= bytes;
      },
    });
    this.#lastActiveMs = services.clock.nowMs();
    this.#idleTimer = services.clock.after(services.settings.idleTimeoutMs, this.#checkIdle);
  }

  get identity(): Principal | null {
    return this.#principal;
  }

  get origin(): ConnectionOrigin {
    return originOf(this.#transport, this.#clientId);
  }

  get localAddress(): string {
    return this.#transport.localAddress;
  }

  get localPort(): number {
    return this.#transport.localPort;
  }

  get isAuthenticated(): boolean {
    return this.#principal !== null;
  }

  /** Asked only by requests that may begin after authentication. */
  get principal(): Principal {
    if (this.#principal === null) throw new Error('nobody has authenticated');
    return this.#principal;
  }

  // ------------------------------------------------------------------------------------- from the transport

  received(chunk: Buffer): void {
    if (this.#ending) return;
    const { services } = this;
    this.#lastActiveMs = services.clock.nowMs();
    const waiting = this.#waiting;
    const before = waiting.length;
    let fault: unknown = null;
    try {
      this.#frames.push(chunk, waiting);
    } catch (error) {
      fault = error;
    }
    for (let i = before; i < waiting.length; i++) services.unfinishedBytes += (waiting[i] as Buffer).length;
    if (fault === null) this.#pump();
    else this.#fail(fault);
  }

  drained(): void {
    this.#pump();
  }

  closed(): void {
    if (this.isGone) return;
    this.isGone = true;
    this.#ending = true;
    this.#idleTimer.cancel();
    this.#frames.close();
    this.receipts.clear();
    this.#publisher?.close();
    for (const frame of this.#waiting) this.services.unfinishedBytes -= frame.length;
    this.#waiting = [];
    this.#calls = [];
    this.fetchSession = null;
    const tasks = [...this.#closeTasks];
    this.#closeTasks.clear();
    for (const task of tasks) task();
  }

  /** Producers that still send are told to look elsewhere, so that they know what became of each batch. */
  settle(done: () => void): void {
    this.isLeaving = true;
    this.services.clock.after(LAST_REQUESTS_MS, done);
  }

  /**
   * The protocol has no word for it: a client that finds its connection closed comes again. What waits for the disk
   * is answered before, or the client would do it a second time; what waits for others is not waited for.
   */
  disconnect(reason: DisconnectReason): void {
    if (this.#ending) return;
    const [oldest] = this.#calls;
    if (oldest === undefined || WAITING_FOR_OTHERS.has(oldest.header.apiKey)) this.#end(reason);
    else this.#lastWords ??= { reason };
  }

  describe(): ConnectionDescription {
    return {
      protocol: 'Kafka',
      clientId: this.#clientId,
      user: this.#principal?.user ?? '',
      details: { software: this.software, requestsWaiting: this.#waiting.length + this.#calls.length },
    };
  }

  // ------------------------------------------------------------------------------------------- for handlers

  authenticated(principal: Principal): void {
    this.#principal = principal;
  }

  rejected(): void {
    this.#lastWords ??= { reason: 'not-authorized', detail: 'wrong credentials' };
  }

  onClosed(task: () => void): () => void {
    this.#closeTasks.add(task);
    return () => this.#closeTasks.delete(task);
  }

  answered(_call: Call): void {
    if (!this.#pumping) this.#pump();
  }

  // ---------------------------------------------------------------------------------------------- the order

  /** Sends what is ready and begins what may begin, until nothing moves. */
  #pump(): void {
    if (this.#pumping || this.#ending) return;
    this.#pumping = true;
    let begun = 0;
    this.#send();
    for (; begun < this.#waiting.length; begun++) {
      const frame = this.#waiting[begun] as Buffer;
      if (!this.#mayBegin(frame)) break;
      this.services.unfinishedBytes -= frame.length;
      this.#waiting[begun] = NO_FRAME;
      this.#begin(frame);
      if (this.#ending) return;
      this.#send();
    }
    if (begun === this.#waiting.length) this.#waiting.length = 0;
    else if (begun > 0) this.#waiting.splice(0, begun);
    this.#pumping = false;
    if (this.#lastWords !== null && this.#calls.length === 0) {
      this.#end(this.#lastWords.reason, this.#lastWords.detail);
      return;
    }
    const pause = this.#waiting.length > 0 || this.#congested;
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#transport.pause();
    else this.#transport.resume();
  }

  #mayBegin(frame: Buffer): boolean {
    if (this.#authenticating || this.#lastWords !== null || this.#congested) return false;
    if (this.#transport.pendingBytes > this.#transport.listener.highWaterBytes) return false;
    if (this.#calls.length === 0) return true;
    const { producesInFlightMax, produceBytesMax } = this.services.settings;
    return (
      this.#onlyProduces &&
      frame.readInt16BE(0) === PRODUCE_KEY &&
      this.#calls.length < producesInFlightMax &&
      this.#callBytes < produceBytesMax
    );
  }

  #begin(frame: Buffer): void {
    try {
      const reader = new Reader(frame, 0, frame.length, this.services.settings.requestElementsMax);
      const apiKey = reader.int16();
      if (this.#principal === null && !isBeforeAuthentication(apiKey) && !this.#enter(frame)) return;
      const version = reader.int16();
      const correlationId = reader.int32();
      const endpoint = ENDPOINTS.get(apiKey);
      if (endpoint === undefined) throw new MalformedRequest(`there is no API ${apiKey}`);
      const { api } = endpoint;
      const known = version >= api.versionMin && version <= api.versionMax;
      if (!known && apiKey !== API_VERSIONS_KEY) {
        throw new MalformedRequest(`version ${version} of ${api.name} is not known`);
      }
      if (known) this.#clientId = reader.string(false, true) ?? NO_CLIENT_ID;
      if (known && api.flexibleFrom <= version) reader.skipTags();
      const header: RequestHeader = {
        apiKey,
        version: known ? version : 0,
        correlationId,
        clientId: this.#clientId,
      };
      const call = new Call(header, this, frame.length);
      this.#onlyProduces = apiKey === PRODUCE_KEY;
      this.#calls.push(call);
      this.#callBytes += frame.length;
      if (apiKey === PRODUCE_KEY) this.#watchCongestion();
      if (known) endpoint.handle(call, reader, (error) => this.#fail(error));
      else answerUnknownVersion(call);
    } catch (error) {
      this.#fail(error);
    }
  }

  #send(): void {
    const calls = this.#calls;
    let sent = 0;
    for (; sent < calls.length && (calls[sent] as Call).done; sent++) {
      const call = calls[sent] as Call;
      this.#callBytes -= call.requestBytes;
      for (const piece of call.pieces) this.#transport.write(piece);
    }
    if (sent === 0) return;
    this.#lastActiveMs = this.services.clock.nowMs();
    if (sent === calls.length) calls.length = 0;
    else calls.splice(0, sent);
  }

  /** A client that does not authenticate is asked for as nobody; whether `frame` may go on now. */
  #enter(frame: Buffer): boolean {
    const found = this.services.authenticator.authenticate({ kind: 'anonymous' }, this.origin);
    if (!(found instanceof Promise)) return this.#admit(found);
    this.#authenticating = true;
    found.then(
      (principal) => {
        this.#authenticating = false;
        if (this.#ending || !this.#admit(principal)) return;
        this.#waiting.unshift(frame);
        this.services.unfinishedBytes += frame.length;
        this.#pump();
      },
      (error) => this.#fail(error),
    );
    return false;
  }

  #admit(principal: Principal | null): boolean {
    if (principal === null) {
      this.#end('not-authorized', 'a client without credentials');
      return false;
    }
    this.#principal = principal;
    return true;
  }

  /** From the first record on the core may ask this connection to stop. */
  #watchCongestion(): void {
    if (this.#publisher !== null) return;
    this.#publisher = this.services.core.openPublisher({
      principal: this.principal,
      congested: (yes) => {
        this.#congested = yes;
        this.#pump();
      },
    });
  }

  #fail(error: unknown): void {
    if (this.#ending) return;
    if (error instanceof MalformedRequest || error instanceof UnansweredError) {
      this.#end('protocol-error', error.message);
      return;
    }
    this.services.logger.error(
      { err: error, remoteAddress: this.#transport.remoteAddress },
      'a Kafka request failed',
    );
    this.#end('internal-error', error instanceof Error ? error.message : String(error));
  }

  /** What has arrived behind the request that led here must not begin: its answer would take the other's place. */
  #end(reason: CloseReason, detail?: string): void {
    this.#ending = true;
    this.#transport.close(reason, detail);
  }

  readonly #checkIdle = (): void => {
    if (this.#ending) return;
    const { clock, settings } = this.services;
    // Who is waited for by the server itself is not idle; who does not read what was sent is.
    const busy = this.#calls.length > 0 || this.#authenticating || this.#congested;
    const idleMs = busy ? 0 : clock.nowMs() - this.#lastActiveMs;
    if (idleMs >= settings.idleTimeoutMs) this.#end('keep-alive-timeout', `no request for ${idleMs} ms`);
    else this.#idleTimer = clock.after(settings.idleTimeoutMs - idleMs, this.#checkIdle);
  };
}
