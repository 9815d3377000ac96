/**
 * Tells the operator's log that clients lose messages: the first of them at once, then at most a line a minute for what went
 * since, however many clients and messages it is.
 */

import type { Clock } from './clock.ts';
import type { CoreEvent } from './index.ts';

const EVERY_MS = 60_000;
/** More are not counted. */
const CLIENTS_MAX = 1_000;

/** Called with the session, or the shared subscription, whose oldest message went. */
export function tellOfDrops(clock: Clock, report: (event: CoreEvent) => void): (name: string) => void {
  let dropped = 0;
  let isWatching = false;
  const clients = new Set<string>();
  const tell = (): void => {
    isWatching = dropped > 0;
    if (!isWatching) return;
    const [example = ''] = clients;
    const text = 'messages that wait for clients were dropped: there was no room for more';
    report({ level: 'warn', text, details: { dropped, clients: clients.size, example } });
    dropped = 0;
    clients.clear();
    clock.after(EVERY_MS, tell);
  };
  return (name) => {
    dropped++;
    if (clients.size < CLIENTS_MAX) clients.add(name);
    if (!isWatching) tell();
  };
}
