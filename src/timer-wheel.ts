/**
 * One wheel for every delay of the process (keep alive, session expiry, delayed wills, redelivery), used by
 * `clock.ts`. A timer stands in the slot of its due tick, in a doubly linked list, so setting and cancelling take the
 * same short time however many there are; one further away than a turn of the wheel is passed over until its tick
 * comes. Time is the process's monotonic clock: setting the system's clock moves no timer. A timer fires no earlier
 * than asked and at most one tick later, and none keeps the process alive. While no timer is set, nothing ticks.
 */

import { strict as assert } from 'node:assert';
import type { Timer } from './core/index.ts';

export const TICK_MS = 50;
/** A power of two; a turn of the wheel takes 204.8 seconds. */
const SLOTS = 4096;
const SLEEP_TICKS_MAX = 20;

class WheelTimer implements Timer {
  readonly dueMs: number;
  readonly tick: number;
  readonly task: () => void;
  /** Null once it has fired or was cancelled. */
  wheel: TimerWheel | null;
  /** In a slot's list; not so while it waits for its turn among those that are due. */
  linked = false;
  previous: WheelTimer | null = null;
  next: WheelTimer | null = null;

  constructor(wheel: TimerWheel, dueMs: number, tick: number, task: () => void) {
    this.wheel = wheel;
    this.dueMs = dueMs;
    this.tick = tick;
    this.task = task;
  }

  cancel(): void {
    const wheel = this.wheel;
    this.wheel = null;
    if (this.linked) wheel?.unlink(this);
  }
}

export class TimerWheel {
  readonly #failed: (error: unknown) => void;
  readonly #slots: (WheelTimer | null)[] = new Array(SLOTS).fill(null);
  #count = 0;
  /** Every tick up to this one has been dealt with. */
  #tick = 0;
  #alarm: NodeJS.Timeout | null = null;
  /** The tick that the alarm is for. */
  #alarmTick = 0;

  /** `failed` hears of what a task throws; the others run all the same. */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  /** Timers that wait. */
  get count(): number {
    return this.#count;
  }

  after(delayMs: number, task: () => void): Timer {
    assert(delayMs >= 0, 'a delay is not negative');
    const nowMs = performance.now();
    // With nothing waiting the wheel stands still; it starts again from now.
    const nowTick = Math.floor(nowMs / TICK_MS);
    if (this.#alarm === null) this.#tick = nowTick;
    const tick = Math.max(Math.ceil((nowMs + delayMs) / TICK_MS), Math.max(nowTick, this.#tick) + 1);
    const timer = new WheelTimer(this, Date.now() + delayMs, tick, task);
    // A delay without end never fires; its timer is only there to be cancelled.
    if (Number.isFinite(tick)) {
      this.#link(timer);
      if (this.#alarm === null || tick < this.#alarmTick) this.#arm(nowMs);
    }
    return timer;
  }

  /** Takes a timer out of its slot; only `WheelTimer.cancel` calls it. */
  unlink(timer: WheelTimer): void {
    if (timer.previous === null) this.#slots[timer.tick % SLOTS] = timer.next;
    else timer.previous.next = timer.next;
    if (timer.next !== null) timer.next.previous = timer.previous;
    timer.linked = false;
    timer.previous = null;
    timer.next = null;
    this.#count--;
  }

  /** Forgets every timer. */
  stop(): void {
    if (this.#alarm !== null) clearTimeout(this.#alarm);
    this.#alarm = null;
    this.#slots.fill(null);
    this.#count = 0;
  }

  #link(timer: WheelTimer): void {
    const slot = timer.tick % SLOTS;
    const first = this.#slots[slot] as WheelTimer | null;
    timer.next = first;
    if (first !== null) first.previous = timer;
    timer.linked = true;
    this.#slots[slot] = timer;
    this.#count++;
  }

  /** Wakes for the next slot that holds a timer, or after a while: an idle process sleeps. */
  #arm(nowMs: number): void {
    if (this.#alarm !== null) clearTimeout(this.#alarm);
    let tick = Math.max(Math.floor(nowMs / TICK_MS), this.#tick) + 1;
    const tickMax = tick + SLEEP_TICKS_MAX;
    while (tick < tickMax && this.#slots[tick % SLOTS] === null) tick++;
    this.#alarmTick = tick;
    this.#alarm = setTimeout(this.#advance, Math.max(1, Math.ceil(tick * TICK_MS - nowMs)));
    this.#alarm.unref();
  }

  readonly #advance = (): void => {
    const nowTick = Math.floor(performance.now() / TICK_MS);
    // After a turn of the loop that took longer than a turn of the wheel, each slot is still walked only once.
    const firstTick = Math.max(this.#tick + 1, nowTick - SLOTS + 1);
    const due: WheelTimer[] = [];
    for (let tick = firstTick; tick <= nowTick; tick++) this.#collect(tick % SLOTS, nowTick, due);
    this.#tick = Math.max(this.#tick, nowTick);
    for (const timer of due) {
      // Another task that ran just now may have cancelled it, or stopped the wheel.
      if (timer.wheel === null || this.#alarm === null) continue;
      timer.wheel = null;
      try {
        timer.task();
      } catch (error) {
        this.#failed(error);
      }
    }
    if (this.#alarm === null) return;
    this.#alarm = null;
    if (this.#count > 0) this.#arm(performance.now());
  };

  /** Moves what is due out of a slot, oldest first: the list holds the newest at its head. */
  #collect(slot: number, nowTick: number, due: WheelTimer[]): void {
    const begin = due.length;
    let timer = this.#slots[slot] as WheelTimer | null;
    while (timer !== null) {
      const next: WheelTimer | null = timer.next;
      if (timer.tick <= nowTick) {
        this.unlink(timer);
        due.push(timer);
      }
      timer = next;
    }
    if (due.length - begin > 1) due.push(...due.splice(begin).reverse());
  }
}
