/** Tells the operator's log that clients lose messages: a line a minute at most, however many clients and messages. */

import type { Clock } from './clock.ts';
import type { CoreEvent } from './index.ts';

const EVERY_MS = 60_000;

/** `client`: the session, or the shared subscription, whose oldest message went. */
export function tellOfDrops(clock: Clock, report: (event: CoreEvent) => void): (client: string) => void {
  let count = 0;
  let toldAtMs = Number.NEGATIVE_INFINITY;
  return (client) => {
    count++;
    const nowMs = clock.nowMs();
    if (nowMs - toldAtMs < EVERY_MS) return;
    const text = 'messages that wait for a client were dropped: its queue is full';
    report({ level: 'warn', text, details: { client, dropped: count } });
    toldAtMs = nowMs;
    count = 0;
  };
}
