/**
 * Publisher confirms of one channel: which of the numbers 1, 2, 3 … may be acknowledged. Receipts come from the
 * core in order; what needs no disk is covered by the next receipt. Answers leave once per turn and in order, as
 * many as possible in one `multiple`. Owned by a channel in confirm mode; it gives the numbers as tokens.
 */

/** Writes one confirm. */
export type ConfirmWriter = (tag: number, multiple: boolean, refused: boolean) => void;

export class Confirms {
  /** Last number given. */
  #last = 0;
  /** Publishes whose receipt is still to come. */
  #pendingCount = 0;
  /** Everything up to here is decided. */
  #decided = 0;
  /** Everything up to here was answered. */
  #answered = 0;
  /** Refused and not yet answered, ascending. */
  readonly #refused: number[] = [];

  get pendingCount(): number {
    return this.#pendingCount;
  }

  /** The number of the message that is published now. */
  next(): number {
    return ++this.#last;
  }

  /** The receipt of the last number comes later. */
  pending(): void {
    this.#pendingCount++;
  }

  /** The last number is stored, or nothing of it has to be. */
  decided(): void {
    if (this.#pendingCount === 0) this.#decided = this.#last;
  }

  /** The last number was refused at once. */
  refusedNow(): void {
    this.#refused.push(this.#last);
    this.decided();
  }

  /** The receipt of a pending number. */
  stored(token: number): void {
    this.#pendingCount--;
    this.#decided = this.#pendingCount === 0 ? this.#last : token;
  }

  /** A pending number failed. */
  refusedLater(token: number): void {
    let at = this.#refused.length;
    while (at > 0 && (this.#refused[at - 1] as number) > token) at--;
    this.#refused.splice(at, 0, token);
    this.stored(token);
  }

  /** Whether the client waits for an answer. */
  get owes(): boolean {
    return this.#answered < this.#last;
  }

  /** Whether `flush` would write. */
  get due(): boolean {
    return this.#decided > this.#answered;
  }

  flush(write: ConfirmWriter): void {
    let taken = 0;
    for (const refused of this.#refused) {
      if (refused > this.#decided) break;
      taken++;
      this.#acknowledge(refused - 1, write);
      write(refused, false, true);
      this.#answered = refused;
    }
    if (taken > 0) this.#refused.splice(0, taken);
    this.#acknowledge(this.#decided, write);
  }

  #acknowledge(upTo: number, write: ConfirmWriter): void {
    if (upTo <= this.#answered) return;
    write(upTo, upTo > this.#answered + 1, false);
    this.#answered = upTo;
  }
}
