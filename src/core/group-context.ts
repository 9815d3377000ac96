/**
 * What a group is given by whoever makes it: its bounds, how it is to behave, and what all groups of a core share.
 */

import type { Attempts } from './attempts.ts';
import type { Clock } from './clock.ts';
import type { Congestion } from './congestion.ts';
import type { DeliveryOptions } from './delivery.ts';
import type { Durability } from './durability.ts';
import type { CoreCounters } from './index.ts';
import type { LogTurns } from './log-turns.ts';
import type { Message } from './message.ts';
import type { MessageFormat } from './message-format.ts';
import type { RowLog } from './storage.ts';

/** Why a message left without being consumed. */
export type DiscardReason = 'rejected' | 'expired' | 'overflow' | 'failed';

export interface GroupBounds {
  /** -1: no bound. */
  readonly messagesMax: number;
  readonly bytesMax: number;
  readonly overflow: 'drop-oldest' | 'reject';
  /** -1: as long as the message itself allows. */
  readonly messageTtlMs: number;
  /**
   * Every message is kept on disk whatever its publisher asked. Said either way, what stands there after a restart is
   * not dropped because it need not have survived.
   */
  readonly keepsAll?: boolean;
}

export interface GroupOptions {
  /** Null: nothing survives a restart and nothing can be paged out. */
  readonly log: RowLog | null;
  readonly bounds: GroupBounds;
  /** Bytes of waiting messages kept in memory when there is a log. */
  readonly memoryBytesMax: number;
  /** What has expired leaves on time though nobody consumes; without it, when somebody would have got it. */
  readonly expiresUnattended: boolean;
  /** What comes while nobody consumes, and has no deadline, stands only in the log, but for the first of it. */
  readonly pagesUnattended?: boolean;
  /**
   * Given for a group with members: every message is kept on disk whatever its publisher asked, deliveries are settled
   * by offset too, and what failed goes to another member, so often at most (0: without end). `attempts`: where that is
   * counted for another process.
   */
  readonly members?: { readonly attemptsMax: number; readonly attempts: Attempts | null };
  /** What stood only in the log was read back, and all of it was handed out. */
  caughtUp?(): void;
  /**
   * A message leaves without being consumed; `note` is what a consumer said of it. Called before its row is removed;
   * must not touch the group.
   */
  discarded(message: Message, options: DeliveryOptions, reason: DiscardReason, note: string): void;
}

/** What all groups of a core share. */
export interface GroupContext {
  readonly clock: Clock;
  readonly durability: Durability;
  readonly congestion: Congestion;
  readonly format: MessageFormat;
  readonly counters: CoreCounters;
  /** Of groups that count the bytes of what was in their logs at the start. */
  readonly weighing: LogTurns;
  /** A log could not be read back. */
  readFailed(error: unknown): void;
  /** The session, or the shared subscription, of this name has no room: its oldest message goes. */
  droppedFor(name: string): void;
}
