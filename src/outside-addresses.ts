/**
 * With which of several addresses of an outside broker a bridge begins to connect. Part of door 3 (`outside.ts`): a driver
 * whose connections have more than one keeps one of these. A try to connect has an end, so those behind a few silent
 * ones would never have their turn if each try began with the same.
 */

/** More than there are bridges; what is beyond is forgotten. */
const REMEMBERED_BRIDGES_MAX = 1_024;

interface OneBridge {
  readonly name: string;
  readonly direction: string;
}

export class AddressTurns {
  readonly #failures = new Map<string, number>();

  /** All of them, the one to begin with first: the one that worked last, or the one behind the last that failed. */
  inTurn<T>(bridge: OneBridge, addresses: readonly T[]): readonly T[] {
    const first = (this.#failures.get(keyOf(bridge)) ?? 0) % Math.max(1, addresses.length);
    return [...addresses.slice(first), ...addresses.slice(0, first)];
  }

  /** The first of those that were not tried yet was tried in vain. */
  failed(bridge: OneBridge): void {
    const key = keyOf(bridge);
    if (!this.#failures.has(key) && this.#failures.size >= REMEMBERED_BRIDGES_MAX) this.#failures.clear();
    this.#failures.set(key, (this.#failures.get(key) ?? 0) + 1);
  }
}

const keyOf = ({ name, direction }: OneBridge): string => `${direction} ${name}`;
