/**
 * Time, given from outside so that tests own it. `nowMs` is coarse: the host refreshes it once per turn or tick.
 * `Timers` is one wheel for every delay in the process: keep alive, session expiry, delayed wills, redelivery.
 */

/** Handle of a pending timer; 0 is never one. */
export interface Timer {
  /** Absolute due time, milliseconds since 1970. */
  readonly dueMs: number;
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since 1970, coarse (at most one tick old). */
  nowMs(): number;
  /** Runs `task` once, no earlier than `delayMs` from now and at most one wheel tick later. */
  after(delayMs: number, task: () => void): Timer;
  /** Runs `task` when the current turn of the event loop is over; tasks run in the order given. */
  afterTurn(task: () => void): void;
  /** As `afterTurn`, but of the turn after the current one: what has arrived by then is dealt with as well. */
  afterNextTurn(task: () => void): void;
}
