/** One message in one group: what an adapter holds as its delivery and settles. Linked into its holder's list. */

import type { Holder } from './consumers.ts';
import type { Delivery, DeliveryOptions, Outcome } from './delivery.ts';
import type { Message } from './message.ts';
import type { RowLog } from './storage.ts';

/** What an entry tells its group. */
export interface EntryOwner {
  /** `holder` has let go of it. */
  settled(entry: Entry, outcome: Outcome, holder: Holder): void;
  released(entries: Entry[]): void;
  pump(): void;
}

/** A row in the log of a shared subscription that one of its members has to remove. */
export interface Loan {
  readonly log: RowLog;
  readonly row: number;
}

/** Counted for each entry on top of its body: the objects around it. */
const ENTRY_OVERHEAD_BYTES = 300;

export class Entry implements Delivery {
  readonly message: Message;
  readonly options: DeliveryOptions;
  /** Order of arrival in the group, from 1. */
  readonly sequence: number;
  /** Milliseconds since 1970 after which it is dropped, 0 never. */
  readonly deadlineMs: number;
  /** Offset of its row in the group's log, or -1. */
  row = -1;
  failedCount = 0;
  /** Its order in the shared subscription by which it came; 0 where there is none, or it is not known any more. */
  sharedOrder = 0;
  /** Where it is kept meanwhile, for a session that does not survive itself. */
  loan: Loan | null = null;
  redelivered = false;
  /** When its holder got it, where that matters: in the ticks of `visibility.ts`. */
  heldTick = 0;
  /** Who failed with it, and gets it again only where nobody else can. */
  avoid: Holder | null = null;
  holder: Holder | null = null;
  previous: Entry | null = null;
  next: Entry | null = null;
  readonly #owner: EntryOwner;

  constructor(
    owner: EntryOwner,
    message: Message,
    options: DeliveryOptions,
    sequence: number,
    deadlineMs: number,
  ) {
    this.#owner = owner;
    this.message = message;
    this.options = options;
    this.sequence = sequence;
    this.deadlineMs = deadlineMs;
  }

  /** Its row's offset, the same after a restart; negative for what is not stored. */
  get offset(): number {
    return this.row >= 0 ? this.row : -this.sequence;
  }

  get bytes(): number {
    return this.message.body.length + ENTRY_OVERHEAD_BYTES;
  }

  /** Its row in `log`, which stays there when it is gone; null where it has none. */
  lendRow(log: RowLog): Loan | null {
    if (this.row < 0) return null;
    const loan = { log, row: this.row };
    this.row = -1;
    return loan;
  }

  settle(outcome: Outcome): void {
    const { holder } = this;
    if (holder === null) return;
    holder.drop(this);
    this.#owner.settled(this, outcome, holder);
  }

  /**
   * The same in place of this one, which nobody holds any more: a consumer from which it was taken may still try to
   * settle it, and must not settle what another one has by then.
   */
  renewed(): Entry {
    const entry = new Entry(this.#owner, this.message, this.options, this.sequence, this.deadlineMs);
    entry.row = this.row;
    entry.failedCount = this.failedCount;
    entry.redelivered = this.redelivered;
    entry.sharedOrder = this.sharedOrder;
    entry.loan = this.loan;
    return entry;
  }
}
