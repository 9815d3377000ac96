/**
 * What the parts of a connection may touch of each other: handlers get a channel or the connection through these
 * interfaces and nothing else, so that life cycle and protocol rules stay apart and no file imports in a circle.
 */

import type { Principal, Publisher } from '../../src/core/index.ts';
import type { Host, Transport } from '../../src/host.ts';
import type { FrameReader } from './codec/frame-reader.ts';
import type { MethodArguments, MethodName } from './codec/methods.ts';
import { type Amqp091Error, channelError } from './errors.ts';
import type { Amqp091Settings } from './settings.ts';
import type { Confirms } from './state/confirms.ts';
import type { ConsumerState } from './state/consumer.ts';
import type { Unsettled } from './state/unsettled.ts';

export type ConnectionState =
  | 'header'
  | 'starting'
  | 'tuning'
  | 'opening'
  | 'open'
  /** A close was sent, its answer is awaited, everything else is dropped. */
  | 'closing'
  | 'closed';

/** What all connections of one adapter share. */
export interface Shared {
  readonly host: Host;
  readonly settings: Amqp091Settings;
}

/** Somebody who is owed credit for what was settled. */
export interface CreditOwner {
  grantOwed(): void;
}

export interface ConnectionContext {
  readonly shared: Shared;
  readonly transport: Transport;
  readonly reader: FrameReader;
  readonly publisher: Publisher;
  state: ConnectionState;
  principal: Principal | null;
  clientName: string;
  clientProduct: string;
  capabilities: ReadonlySet<string>;
  frameBytesMax: number;
  channelMax: number;
  heartbeatSeconds: number;
  unfinishedBytes: number;
  readonly throttled: boolean;
  send<Name extends MethodName>(channel: number, name: Name, values: MethodArguments<Name>): void;
  opened(): void;
  answerClose(): void;
  refuseLogin(error: Amqp091Error): void;
  throttle(by: ChannelContext): void;
  answered(by: ChannelContext): void;
  creditDue(owner: CreditOwner): void;
  forget(channel: ChannelContext): void;
}

export interface ChannelContext {
  readonly number: number;
  readonly connection: ConnectionContext;
  readonly consumers: Map<string, ConsumerState>;
  readonly unsettled: Unsettled;
  /** Null until confirm.select. */
  confirms: Confirms | null;
  /** For consumers that start from now on; 0 is no limit. */
  prefetch: number;
  /** Shared by all consumers; 0 is no limit. */
  prefetchOfAll: number;
  /** The shared limit is reached. */
  readonly limited: boolean;
  /** Used where a method leaves the queue's name empty. */
  lastQueue: string;
  /** Where answers to requests of this channel come; empty where it does not consume them (direct reply-to). */
  replyQueue: string;
  nextDeliveryTag(): number;
  send<Name extends MethodName>(name: Name, values: MethodArguments<Name>): void;
  opened(): void;
  answerClose(): void;
  /** From those that acknowledge, or from all. */
  withdrawCredit(from: 'acknowledging' | 'all'): void;
  restoreCredit(): void;
  /** It used up the room that was left: others come first when there is some again. */
  served(consumer: ConsumerState): void;
  /** A confirm may have become due; it is written when the turn is over. */
  confirmDue(): void;
}

/** Throws 403 where the client's user may not do this. */
export function requireAccess(
  connection: ConnectionContext,
  action: 'subscribe' | 'configure',
  target: string,
  explanation: (user: string) => string,
): void {
  const principal = connection.principal as Principal;
  if (!connection.shared.host.core.access.may(principal, action, target)) {
    throw channelError('access-refused', explanation(principal.user));
  }
}

/** What was declared, bound or deleted so far is on the disk: before that it is not answered. */
export function whenStored(connection: ConnectionContext): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.shared.host.core.whenStored((error) => (error === null ? resolve() : reject(error)));
  });
}
