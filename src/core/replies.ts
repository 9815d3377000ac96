/**
 * Answers across protocols. A request names the address that its answer goes to, and often a correlation; where the
 * responder's protocol cannot carry both exactly, or the responder may not publish there, the request is shown with an
 * address under `$reply` instead. That is a token: whoever was handed the request can publish to it, and what is
 * published comes out at the reply address with the correlation that the requester sent. Adapters ask for one as they
 * show a request (`addressFor`); publishing resolves it (`resolve`).
 *
 * A token is sealed with a key of the data folder, so nobody else can make one, it ends after `replyLifetimeMs`, and it
 * is never longer than TOKEN_CHARS_MAX, whatever it stands for. As a rule it holds everything itself and survives a
 * restart; what does not fit is kept here, within bounds, until it expires or the process ends. Bytes, before base64url:
 *
 * | size | field                                                                                         |
 * |------|-----------------------------------------------------------------------------------------------|
 * |    1 | bit 0 lent, bit 1 kept, bits 2-3 correlation: 0 none, 1 text, 2 bytes, 3 definition            |
 * |    4 | expires, seconds since 1970, big-endian                                                       |
 * |      | kept: 8 bytes of number; else 1 byte of length and the address, then the correlation          |
 * |   16 | seal                                                                                          |
 */

import { Buffer } from 'node:buffer';
import { type Access, OPERATOR, type Principal } from './access.ts';
import { queueNameFromAddress } from './address.ts';
import type { Clock, Timer } from './clock.ts';
import { decodeDefinition, encodeDefinition } from './definition.ts';
import { CoreError } from './errors.ts';
import type { CoreCounters, Replies } from './index.ts';
import type { Limits } from './limits.ts';
import { type HeaderValue, type Message, viewSlot } from './message.ts';
import { isReplyAddress, REPLY_PREFIX } from './reply-address.ts';

/** Fits every name of 255 bytes, with a prefix of 13 before it. */
export const TOKEN_CHARS_MAX = 242;
export const SEAL_BYTES = 16;
const TOKEN_BYTES_MAX = Math.floor((TOKEN_CHARS_MAX * 3) / 4);
const HEAD_BYTES = 5;
const NUMBER_BYTES = 8;
const CONTENT_BYTES_MAX = TOKEN_BYTES_MAX - HEAD_BYTES - SEAL_BYTES;
/** What an entry costs beside the bytes that it holds. */
const ENTRY_BYTES = 256;

const LENT = 1;
const KEPT = 2;
const CORRELATION_SHIFT = 2;
const NO_CORRELATION = 0;
const TEXT = 1;
const BYTES = 2;
const DEFINITION = 3;

const SLOT = viewSlot();

/** The token that a message was last shown with. */
interface Shown {
  readonly address: string;
  readonly renewAtMs: number;
}

interface Target {
  readonly address: string;
  readonly correlation: HeaderValue | undefined;
}

interface Entry extends Target {
  readonly expiresAtMs: number;
  readonly bytes: number;
}

export interface ReplyTokenParts {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly access: Access;
  readonly counters: CoreCounters;
  readonly randomBytes: (count: number) => Uint8Array;
  /** At least SEAL_BYTES that only this data folder can compute for these bytes; null: no tokens are given. */
  readonly seal: ((bytes: Uint8Array) => Uint8Array) | null;
}

export class ReplyTokens implements Replies {
  readonly #parts: ReplyTokenParts;
  /** All live equally long, so the first is the first to expire. */
  readonly #kept = new Map<string, Entry>();
  #keptBytes = 0;
  #timer: Timer | null = null;

  constructor(parts: ReplyTokenParts) {
    this.#parts = parts;
  }

  /** What is kept, and its bytes. */
  get kept(): { readonly count: number; readonly bytes: number } {
    return { count: this.#kept.size, bytes: this.#keptBytes };
  }

  mayLend(principal: Principal, address: string): boolean {
    const { access } = this.#parts;
    return access.unrestricted || access.may(principal, 'publish', address);
  }

  addressFor(message: Message): string | null {
    const { clock, limits, seal } = this.#parts;
    if (seal === null || limits.replyLifetimeMs === 0) return null;
    const { replyTo, correlation } = message.properties;
    if (replyTo === undefined || !isOpen(replyTo)) return null;
    const nowMs = clock.nowMs();
    const shown = message.view(SLOT) as Shown | undefined;
    if (shown !== undefined && nowMs < shown.renewAtMs) return shown.address;
    const token = this.#issue({ address: replyTo, correlation }, message.replyLent, nowMs, seal);
    if (token === null) return null;
    const address = REPLY_PREFIX + token;
    message.setView(SLOT, { address, renewAtMs: nowMs + limits.replyLifetimeMs / 2 } satisfies Shown);
    return address;
  }

  /**
   * The answer as it is published at the reply address, or null where it comes too late. Throws CoreError
   * `access-refused` where no such token was ever given, or the answer may not be published where it leads.
   */
  resolve(message: Message, principal: Principal): Message | null {
    const { access, counters } = this.#parts;
    const bytes = this.#open(message.address.slice(REPLY_PREFIX.length));
    if (bytes === null) {
      counters.repliesRefused++;
      throw new CoreError('access-refused', 'no request was ever given this address for its answer');
    }
    const target = this.#liveTarget(bytes);
    if (target === null) {
      counters.repliesLate++;
      return null;
    }
    const { address, correlation } = target;
    const isLent = ((bytes[0] as number) & LENT) !== 0;
    const mayPublish = (): boolean =>
      access.unrestricted || principal === OPERATOR || access.may(principal, 'publish', address);
    const mayAnswer = isLent || mayPublish();
    if (!mayAnswer) {
      counters.repliesRefused++;
      throw new CoreError('access-refused', `may not publish to '${address}', where the answer goes`);
    }
    counters.repliesPassed++;
    // What is lent is an answer to the requester, not a message that the address remembers for everybody.
    const retain = message.retain && (!isLent || mayPublish());
    if (correlation === undefined) return message.with({ address, retain });
    return message.with({ address, retain, properties: { ...message.properties, correlation } });
  }

  targetOf(address: string): string | null {
    const bytes = isReplyAddress(address) ? this.#open(address.slice(REPLY_PREFIX.length)) : null;
    return bytes === null ? null : (this.#liveTarget(bytes)?.address ?? null);
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  /** Null where there is no room to keep what it stands for. */
  #issue(
    target: Target,
    isLent: boolean,
    nowMs: number,
    seal: (bytes: Uint8Array) => Uint8Array,
  ): string | null {
    const expiresAtMs = Math.ceil((nowMs + this.#parts.limits.replyLifetimeMs) / 1000) * 1000;
    const [kind, correlation] = encodeCorrelation(target.correlation);
    const address = Buffer.from(target.address);
    const length = 1 + address.length + correlation.length;
    let flags = (isLent ? LENT : 0) | (kind << CORRELATION_SHIFT);
    let content: Uint8Array;
    if (address.length > 0xff || length > CONTENT_BYTES_MAX) {
      flags |= KEPT;
      const number = this.#keep(target, expiresAtMs, length);
      if (number === null) return null;
      content = number;
    } else content = Buffer.concat([Buffer.of(address.length), address, correlation]);
    const bytes = Buffer.allocUnsafe(HEAD_BYTES + content.length + SEAL_BYTES);
    bytes[0] = flags;
    bytes.writeUInt32BE(expiresAtMs / 1000, 1);
    bytes.set(content, HEAD_BYTES);
    const sealed = bytes.length - SEAL_BYTES;
    bytes.set(seal(bytes.subarray(0, sealed)).subarray(0, SEAL_BYTES), sealed);
    return bytes.toString('base64url');
  }

  #keep(target: Target, expiresAtMs: number, length: number): Uint8Array | null {
    const { limits, counters, randomBytes } = this.#parts;
    const bytes = ENTRY_BYTES + length;
    this.#forgetExpired();
    if (this.#kept.size >= limits.repliesKeptMax || this.#keptBytes + bytes > limits.repliesKeptBytesMax) {
      counters.repliesUnnamed++;
      return null;
    }
    const number = Buffer.from(randomBytes(NUMBER_BYTES));
    this.#kept.set(number.toString('latin1'), {
      address: target.address,
      // Its own bytes: the message's may be a view of all that a socket read.
      correlation: ownCorrelation(target.correlation),
      expiresAtMs,
      bytes,
    });
    this.#keptBytes += bytes;
    this.#arm();
    return number;
  }

  #forgetExpired(): void {
    const nowMs = this.#parts.clock.nowMs();
    for (const [number, { expiresAtMs, bytes }] of this.#kept) {
      if (expiresAtMs > nowMs) break;
      this.#kept.delete(number);
      this.#keptBytes -= bytes;
    }
  }

  #arm(): void {
    if (this.#timer !== null) return;
    this.#timer = this.#parts.clock.after(this.#parts.limits.replyLifetimeMs, () => {
      this.#timer = null;
      this.#forgetExpired();
      if (this.#kept.size > 0) this.#arm();
    });
  }

  /** The bytes of a token of ours; null for any other text. */
  #open(token: string): Buffer | null {
    const { seal } = this.#parts;
    if (seal === null || token.length > TOKEN_CHARS_MAX) return null;
    const bytes = Buffer.from(token, 'base64url');
    const sealed = bytes.length - SEAL_BYTES;
    if (sealed < HEAD_BYTES || bytes.toString('base64url') !== token) return null;
    const expected = seal(bytes.subarray(0, sealed));
    // Every byte is looked at, so that the time tells nothing of how many were right.
    let difference = 0;
    for (let i = 0; i < SEAL_BYTES; i++)
      difference |= (expected[i] as number) ^ (bytes[sealed + i] as number);
    return difference === 0 ? bytes : null;
  }

  /** Null for what has expired or is kept no more. The bytes are ours. */
  #liveTarget(bytes: Buffer): Target | null {
    if (bytes.readUInt32BE(1) * 1000 <= this.#parts.clock.nowMs()) return null;
    const flags = bytes[0] as number;
    const end = bytes.length - SEAL_BYTES;
    if ((flags & KEPT) !== 0) return this.#kept.get(bytes.toString('latin1', HEAD_BYTES, end)) ?? null;
    const addressAt = HEAD_BYTES + 1;
    const correlationAt = addressAt + (bytes[HEAD_BYTES] as number);
    return {
      address: bytes.toString('utf8', addressAt, correlationAt),
      correlation: decodeCorrelation(flags >> CORRELATION_SHIFT, bytes.subarray(correlationAt, end)),
    };
  }
}

/** Answers go to addresses that anybody can publish to, if he may, and to queues that are there. */
function isOpen(address: string): boolean {
  if (address === '') return false;
  return (
    !address.startsWith('$') || (address.startsWith('$queue/') && queueNameFromAddress(address) !== null)
  );
}

function ownCorrelation(value: HeaderValue | undefined): HeaderValue | undefined {
  return value?.kind === 'bytes' ? { ...value, value: Buffer.from(value.value) } : value;
}

function encodeCorrelation(value: HeaderValue | undefined): readonly [kind: number, bytes: Uint8Array] {
  if (value === undefined) return [NO_CORRELATION, Buffer.alloc(0)];
  if (value.kind === 'string') return [TEXT, Buffer.from(value.value)];
  if (value.kind === 'bytes' && value.forText !== true) return [BYTES, value.value];
  return [DEFINITION, encodeDefinition(value)];
}

function decodeCorrelation(kind: number, bytes: Buffer): HeaderValue | undefined {
  if (kind === TEXT) return { kind: 'string', value: bytes.toString() };
  if (kind === BYTES) return { kind: 'bytes', value: bytes };
  return kind === DEFINITION ? (decodeDefinition(bytes) as HeaderValue) : undefined;
}
