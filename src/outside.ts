/**
 * Door 3: what the life of a bridge (`src/bridges`) asks of the client library of an outside broker, and what it hands it.
 * A driver is written in `adapters/bridge-*`, one for each protocol; it knows nothing of buffers, retries, mappings or
 * status. Each bridge opens a link of its own, so that none waits for another's.
 *
 * Out: the bridge calls `send` with what its buffer holds, one batch at a time, oldest first. Nothing is forgotten before the
 * answer says that the outside has it. In: the driver hands what came to the sink, in the outside's order, and tells the
 * outside "done" only when the sink has said so. Whatever is unclear ends the link: it is opened again, and what had no
 * answer is sent or received again.
 */

import type { Clock, Message } from './core/index.ts';
import type { Logger } from './host.ts';
import type { TSchema } from './schema-types.ts';

export { AddressTurns } from './outside-addresses.ts';
export { failureOfCode } from './outside-failures.ts';
export { type OutsideTls, outsideTlsSettings, secretSetting, tlsOptionsOf } from './outside-settings.ts';
export { type Static, Type } from './schema-types.ts';

/** The longest time that a try to connect has, for all addresses together; a time for one of them is not longer. */
export const OPEN_MS_MAX = 30_000;

export type BridgeDirection = 'out' | 'in';

/** `at-most-once`: forgotten as it is sent; `exactly-once`: where the driver says that it can. */
export type BridgeDelivery = 'at-most-once' | 'at-least-once' | 'exactly-once';

/** One protocol's client of outside brokers. */
export interface BridgeDriver {
  /** As in `type` of a connection. */
  readonly type: string;
  /** An object schema of what a connection says beside `type`. Secrets are `secretSetting`s. */
  readonly connectionSchema: TSchema;
  /** An object schema of `options` of a bridge, all of them with defaults. */
  readonly optionsSchema: Readonly<Record<BridgeDirection, TSchema>>;
  readonly deliveries: Readonly<Record<BridgeDirection, readonly BridgeDelivery[]>>;
  /** A stamp in a message's headers does not reach the other side, so circles of two bridges cannot be seen there. */
  isStampLost?(connection: unknown): boolean;
  /**
   * What to receive from, in the outside's own words, for a mapping that does not say: made from the pattern of
   * addresses that the mapping matches, with `+` for one level and `#` at the end for the rest (`devices/+/commands`).
   * Null: the mapping has to say. For `in` only.
   */
  sourceFrom(pattern: string): string | null;
  /** Checks such words. Throws Error with a text for people. */
  checkSource(source: string): void;
  /**
   * The address that a message would have, should it come in again, which a bridge out with these options sends to
   * `address`; null: it cannot be told. Where a driver does not say, it is the same.
   */
  comesBackAs?(address: string, options: unknown): string | null;
  /** Connects. Rejects with a LinkError, or anything, where it cannot; gives up when `signal` is aborted. */
  open(options: LinkOptions): Promise<BridgeLink>;
}

export interface LinkOptions {
  /** The bridge's name: part of what the outside is told who this is. */
  readonly name: string;
  /** As `connectionSchema` with every secret as plain text. */
  readonly connection: unknown;
  /** As `optionsSchema`, defaults filled in. */
  readonly options: unknown;
  readonly direction: BridgeDirection;
  readonly delivery: BridgeDelivery;
  /** This gateway for itself: 32 hexadecimal digits, random and stable, the same that it gives to bridges of others. */
  readonly gatewayId: string;
  /** `in`: messages that may be in the sink at once. */
  readonly inFlightMax: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Only to see whether it can be opened: nothing is made or changed there, and no other link of this bridge disturbed. */
  readonly isTrial?: boolean;
  /**
   * Something that was sent has its answer. A batch is given up when for 60 seconds nothing has; a driver that never tells has 60
   * seconds for all of it.
   */
  answered?(): void;
  /** Tells while it opens why it tries again, so that who gave it up in the end can say what it waited for. */
  waiting?(reason: string): void;
  /** The link is of no use any more. Called at most once, and not after `close`. */
  lost(error: Error): void;
}

/** What a driver tells whoever opened the link. */
export type LinkEvents = Pick<LinkOptions, 'answered' | 'waiting' | 'lost'>;

/** An open connection to an outside broker, for one bridge and one direction. */
export interface BridgeLink {
  /** The `gatewayId` of the other side, where it is a gateway like this and has said so: nothing goes back to where it came from. */
  readonly peer: string | null;
  /** The largest offset that the outside is known to have, where delivery is exactly once; null where it knows none. */
  readonly sentOffset: number | null;
  /**
   * The largest offset up to which the outside takes new messages for sent, where that is larger: it knows of some in
   * between that it has not. Absent: as `sentOffset`.
   */
  readonly markOffset?: number | null;
  /**
   * `out`: sends in order. Resolves when every message has its answer, in the order of `batch`. Rejects where what became
   * of them is unclear: the link is closed and all of them are sent again. Where some were answered before the link
   * was lost it resolves with `answersOfLost`, and `lost` is told in a later turn, so that those are not sent again.
   */
  send(batch: readonly OutsideMessage[]): Promise<readonly SendAnswer[]>;
  /** `in`: begins to receive; resolves when the outside has agreed. Called once. */
  receive(sources: readonly string[], sink: InboundSink): Promise<void>;
  /** Stops receiving, finishes what is under way within about a second, disconnects. Never rejects; idempotent. */
  close(): Promise<void>;
}

export interface OutsideMessage {
  /** Grows with the order of sending and is kept over restarts. */
  readonly offset: number;
  /** `message.address` is where it goes, as an address: the driver gives it the outside's script. `message.key` is its key. */
  readonly message: Message;
}

/**
 * Null: the outside has it. Otherwise why not, and whether the same message could ever be taken. `general`: that has nothing
 * to do with this message or where it goes, so nothing else is sent before it. What is refused otherwise waits with all
 * that has its address, and others pass it.
 */
export type SendAnswer = null | {
  readonly reason: string;
  readonly permanent: boolean;
  readonly general?: boolean;
};

/**
 * The answers to a batch whose link was lost under way: what is known stays, the rest is for the next link. Null where
 * no message is done with: then `send` rejects.
 */
export function answersOfLost(
  known: readonly (SendAnswer | undefined)[],
  error: Error,
): readonly SendAnswer[] | null {
  const unclear: SendAnswer = { reason: error.message, permanent: false, general: true };
  const answers = Array.from(known, (answer) => (answer === undefined ? unclear : answer));
  return answers.some((answer) => answer === null || answer.permanent) ? answers : null;
}

export interface InboundSink {
  /**
   * Publishes all of them, in order, before it returns; resolves when every one has its answer, in their order. An address
   * stands for the outside's name. May be called again before the last answer, up to `inFlightMax` messages.
   * Behind one that is refused all are, until the caller has heard of it.
   */
  take(messages: readonly Message[]): Promise<readonly TakeAnswer[]>;
}

/**
 * `stored`: done, the outside may forget it, as with what is dropped or dead-lettered here. `refused`: not now; the driver
 * gives it back where its protocol can, otherwise it calls `lost` and receives it again.
 */
export type TakeAnswer = 'stored' | 'refused';

/** Why a link could not be opened or was lost. A closed list: status, logs and metrics show it. */
export const LINK_FAILURES = [
  'unreachable', // no connection, no such name, refused by the network
  'tls', // certificates or versions
  'authentication', // credentials refused
  'not-authorized', // let in, but not for this
  'no-target', // what it would send to or receive from is not there
  'protocol', // the other side does not speak it as expected
  'closed', // the other side ended it
  'timeout',
] as const;

export type LinkFailure = (typeof LINK_FAILURES)[number];

export class LinkError extends Error {
  readonly failure: LinkFailure;

  constructor(failure: LinkFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LinkError';
    this.failure = failure;
  }
}

/** Headers under which messages tell the gateways that they came through: the ids, oldest first, with commas between. */
export const PATH_HEADER = 'gw-path';
