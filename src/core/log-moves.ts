/**
 * Moves messages that stand only in one log to another place, a page at a time. Used by sessions for what they hold of
 * shared subscriptions; `sessions.ts` has one `LogTurns` for it.
 *
 * Invariant: what is put elsewhere and the rows that go are written in one turn, so by one commit: a process that is
 * killed finds each message in one of the two places.
 */

import type { DeliveryOptions } from './delivery.ts';
import type { GroupContext } from './group-context.ts';
import type { Message } from './message.ts';
import type { RowLog } from './storage.ts';

/** A message on its way from one group to another. */
export interface Moved {
  readonly message: Message;
  readonly options: DeliveryOptions;
  readonly deadlineMs: number;
  /** Its order in the shared subscription by which it came, or 0. */
  readonly sharedOrder: number;
  /** Its order where it comes from. */
  readonly sequence: number;
}

export interface Move {
  /** Asked whenever a page was read; false ends it. */
  goesOn(): boolean;
  /** `offset`: of its row. */
  wants(message: Message, options: DeliveryOptions, offset: number): boolean;
  /** Puts those of one page elsewhere, oldest first. Their rows go afterwards. */
  put(moved: readonly Moved[]): void;
}

const PAGE_ROWS = 1_000;
const PAGE_BYTES = 1024 * 1024;

/** From offset `from` on. Returns whether it went through to the end. Rejects where the log cannot be read. */
export async function moveRows(
  context: GroupContext,
  log: RowLog,
  from: number,
  move: Move,
): Promise<boolean> {
  for (let next = from; move.goesOn(); ) {
    const rows = await log.read(next, PAGE_ROWS, PAGE_BYTES);
    if (!move.goesOn()) return false;
    const last = rows.at(-1);
    if (last === undefined) return true;
    next = last.offset + 1;
    const moved: Moved[] = [];
    for (const { offset, bytes } of rows) {
      const stored = decode(context, bytes);
      if (stored === null || !move.wants(stored.message, stored.options, offset)) continue;
      moved.push({ ...stored, sharedOrder: 0, sequence: offset });
    }
    if (moved.length > 0) {
      move.put(moved);
      for (const { sequence } of moved) log.remove(sequence);
      context.durability.written();
    }
    // Everybody else's turn in between.
    await new Promise<void>((resolve) => context.clock.afterTurn(resolve));
  }
  return false;
}

/** Null for a row that this version cannot read: it stays where it is. */
function decode(context: GroupContext, bytes: Uint8Array) {
  try {
    return context.format.decode(bytes);
  } catch (error) {
    context.readFailed(error);
    return null;
  }
}
