/** The clock: delays in one wheel, the end of a turn, and what happens when a task throws. Time is the test's. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SystemClock } from '../../../src/clock.ts';
import { TICK_MS, TimerWheel } from '../../../src/timer-wheel.ts';

const failures: unknown[] = [];
const failed = (error: unknown): void => {
  failures.push(error);
};

beforeEach(() => {
  failures.length = 0;
  vi.useFakeTimers({
    now: 1_000_000,
    toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'Date', 'performance'],
  });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a timer', () => {
  it.each([0, 1, 49, 50, 51, 999, 60_000, 204_800, 1_000_000, 3_600_000])(
    'of %d ms fires no earlier and at most a tick later',
    (delayMs) => {
      const wheel = new TimerWheel(failed);
      vi.advanceTimersByTime(17);
      const setMs = Date.now();
      let firedMs = 0;
      const timer = wheel.after(delayMs, () => {
        firedMs = Date.now();
      });
      expect(timer.dueMs).toBe(setMs + delayMs);
      vi.advanceTimersByTime(delayMs + 2 * TICK_MS);
      expect(firedMs - setMs).toBeGreaterThanOrEqual(delayMs);
      expect(firedMs - setMs).toBeLessThanOrEqual(delayMs + TICK_MS + 1);
      expect(wheel.count).toBe(0);
    },
  );

  it('that is cancelled does not fire, also among those of one tick', () => {
    const wheel = new TimerWheel(failed);
    const fired: string[] = [];
    const timers = ['a', 'b', 'c', 'd'].map((name) => wheel.after(100, () => fired.push(name)));
    timers[1]?.cancel();
    timers[1]?.cancel();
    wheel.after(100, () => timers[3]?.cancel()).cancel();
    expect(wheel.count).toBe(3);
    vi.advanceTimersByTime(300);
    expect(fired).toEqual(['a', 'c', 'd']);
  });

  it('may be cancelled by another of the same tick', () => {
    const wheel = new TimerWheel(failed);
    const fired: string[] = [];
    wheel.after(100, () => {
      fired.push('first');
      second.cancel();
    });
    const second = wheel.after(100, () => fired.push('second'));
    vi.advanceTimersByTime(300);
    expect(fired).toEqual(['first']);
    expect(wheel.count).toBe(0);
  });

  it('may set the next one, and nothing ticks when none is left', () => {
    const wheel = new TimerWheel(failed);
    let count = 0;
    const again = (): void => {
      if (++count < 5) wheel.after(0, again);
    };
    again();
    vi.advanceTimersByTime(5 * (TICK_MS + 1));
    expect(count).toBe(5);
    vi.advanceTimersByTime(TICK_MS);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('waits for ever where the delay has no end', () => {
    const wheel = new TimerWheel(failed);
    const timer = wheel.after(Number.POSITIVE_INFINITY, () => expect.fail('fired'));
    vi.advanceTimersByTime(1_000_000);
    timer.cancel();
    expect(wheel.count).toBe(0);
  });

  it('wakes a wheel that sleeps until a later one', () => {
    const wheel = new TimerWheel(failed);
    const fired: number[] = [];
    const begunMs = Date.now();
    wheel.after(10_000, () => fired.push(Date.now() - begunMs));
    for (let i = 0; i < 40; i++) {
      vi.advanceTimersByTime(50);
      const setMs = Date.now();
      wheel.after(0, () => {
        if (Date.now() - setMs > TICK_MS) fired.push(Date.now() - setMs);
      });
    }
    vi.advanceTimersByTime(9_000);
    expect(fired).toEqual([10_000]);
  });

  it('keeps to its time among a hundred thousand', () => {
    const wheel = new TimerWheel(failed);
    const late: number[] = [];
    let fired = 0;
    let seed = 7;
    for (let i = 0; i < 100_000; i++) {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      const delayMs = seed % 500_000;
      const dueMs = Date.now() + delayMs;
      const timer = wheel.after(delayMs, () => {
        fired++;
        const lateMs = Date.now() - dueMs;
        if (lateMs < 0 || lateMs > TICK_MS + 1) late.push(lateMs);
      });
      if (i % 3 === 0) timer.cancel();
    }
    vi.advanceTimersByTime(510_000);
    expect(fired).toBe(66_666);
    expect(late).toEqual([]);
  });

  it('that throws keeps no other from firing', () => {
    const wheel = new TimerWheel(failed);
    const fired: number[] = [];
    wheel.after(10, () => {
      throw new Error('a mistake');
    });
    wheel.after(10, () => fired.push(1));
    wheel.after(500, () => fired.push(2));
    vi.advanceTimersByTime(1_000);
    expect(fired).toEqual([1, 2]);
    expect(failures).toHaveLength(1);
  });
});

describe('the end of a turn', () => {
  it('runs tasks in order, those that they leave too, and then what sends', () => {
    const clock = new SystemClock(failed);
    const ran: string[] = [];
    clock.lastInTurn(() => ran.push('send'));
    clock.afterTurn(() => {
      ran.push('a');
      clock.afterTurn(() => ran.push('c'));
    });
    clock.afterTurn(() => ran.push('b'));
    expect(ran).toEqual([]);
    vi.advanceTimersToNextTimer();
    expect(ran).toEqual(['a', 'b', 'c', 'send']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('runs what sending leaves in the same turn', () => {
    const clock = new SystemClock(failed);
    const ran: string[] = [];
    clock.lastInTurn(() => {
      ran.push('send');
      clock.afterTurn(() => {
        ran.push('task');
        clock.lastInTurn(() => ran.push('send again'));
      });
    });
    vi.advanceTimersToNextTimer();
    expect(ran).toEqual(['send', 'task', 'send again']);
  });

  it('keeps what may wait for the next turn until that one is over', () => {
    const clock = new SystemClock(failed);
    const ran: string[] = [];
    clock.afterNextTurn(() => ran.push('next'));
    clock.afterTurn(() => {
      ran.push('this');
      clock.afterNextTurn(() => ran.push('next, too'));
    });
    vi.advanceTimersToNextTimer();
    expect(ran).toEqual(['this']);
    clock.afterTurn(() => ran.push('what came meanwhile'));
    vi.advanceTimersToNextTimer();
    expect(ran).toEqual(['this', 'next', 'next, too', 'what came meanwhile']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('lets the loop go on where tasks never end', () => {
    const clock = new SystemClock(failed);
    let count = 0;
    const again = (): void => {
      count++;
      clock.afterTurn(again);
    };
    clock.afterTurn(again);
    vi.advanceTimersToNextTimer();
    expect(count).toBeLessThan(100);
    const before = count;
    vi.advanceTimersToNextTimer();
    expect(count).toBeGreaterThan(before);
  });

  it('runs the others where one throws', () => {
    const clock = new SystemClock(failed);
    const ran: string[] = [];
    clock.afterTurn(() => {
      throw new Error('a mistake');
    });
    clock.afterTurn(() => ran.push('task'));
    clock.lastInTurn(() => ran.push('send'));
    vi.advanceTimersToNextTimer();
    expect(ran).toEqual(['task', 'send']);
    expect(failures).toHaveLength(1);
  });

  it('is when time goes on', () => {
    const clock = new SystemClock(failed);
    const first = clock.nowMs();
    vi.setSystemTime(2_000_000);
    expect(clock.nowMs()).toBe(first);
    vi.advanceTimersToNextTimer();
    expect(clock.nowMs()).toBeGreaterThanOrEqual(2_000_000);
  });
});
