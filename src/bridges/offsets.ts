/**
 * The numbers under which messages of one buffer leave, where the other side remembers how far it came (exactly once). They
 * are the offsets in the buffer and a base that no earlier buffer of that name reached, so that none ever means two
 * messages. Kept by the registry, as a part of the bridge's state.
 *
 * A data folder that is put back from a backup knows less than the other side remembers, and would give numbers again. That
 * shows when the bridge connects for the first time: then what comes from then on gets a new base, and what had waited
 * in the backup keeps its own, for the other side has that.
 */

export interface OffsetState {
  readonly offsetBase: number | null;
  /** For offsets below `below`; null where all have the same base. */
  readonly earlier?: { readonly offsetBase: number; readonly below: number } | null;
}

/** More than a buffer takes before its bridge turns round, should the clock have been set back meanwhile. */
const OFFSETS_APART = 1_000_000_000;

export class Offsets {
  /** The offsets of what was published since the gateway started begin here. */
  readonly #firstNew: number;
  #base: number;
  #earlier: NonNullable<OffsetState['earlier']> | null;
  #isCompared = false;

  /** `isNew`: the buffer has been made just now. */
  constructor(
    state: OffsetState,
    buffer: { readonly isNew: boolean; readonly firstNew: number },
    nowMs: number,
  ) {
    const isKnown = state.offsetBase !== null && !buffer.isNew;
    this.#firstNew = buffer.firstNew;
    this.#base = isKnown ? (state.offsetBase as number) : newBase(nowMs, state.offsetBase);
    this.#earlier = isKnown ? (state.earlier ?? null) : null;
  }

  get state(): OffsetState {
    return { offsetBase: this.#base, earlier: this.#earlier };
  }

  /** The number of what has this offset in the buffer. */
  of(offset: number): number {
    const earlier = this.#earlier;
    return offset + (earlier !== null && offset < earlier.below ? earlier.offsetBase : this.#base);
  }

  /**
   * Holds `mark`, the largest number that the other side remembers, against what was here when the gateway started. Called
   * before anything is sent; returns whether there is a new base, to be kept before anything is sent with it.
   */
  compare(mark: number | null, nowMs: number): boolean {
    if (this.#isCompared) return false;
    this.#isCompared = true;
    if (mark === null || mark < this.of(this.#firstNew)) return false;
    this.#earlier = { offsetBase: this.#base, below: this.#firstNew };
    this.#base = Math.max(newBase(nowMs, this.#base), mark + 1);
    return true;
  }
}

/** Larger than any number that a buffer of this name has had: no buffer takes a thousand messages a millisecond for long. */
function newBase(nowMs: number, before: number | null): number {
  return Math.max(nowMs * 1_000, before === null ? 0 : before + OFFSETS_APART);
}
