/** Tries a connection: opens a link of its own, under a name of its own so that no other is disturbed, and closes it. */

import { openLink } from './bridge.ts';
import { within } from './deadline.ts';
import { checked } from './definitions.ts';
import type { BridgeDefinition, ProbeResult } from './index.ts';
import { closed, openedTooLate } from './link-keeper.ts';
import type { BridgeSurroundings } from './parts.ts';
import type { PreparedBridge, PreparedConnection } from './prepared.ts';
import { failureOf, textOf } from './status-board.ts';

const PROBE_MS_MAX = 15_000;

export async function probe(around: BridgeSurroundings, prepared: PreparedBridge): Promise<ProbeResult> {
  const { clock } = around;
  const startedMs = clock.nowMs();
  const abort = new AbortController();
  const result = (rest: Omit<ProbeResult, 'milliseconds'>): ProbeResult => ({
    ...rest,
    milliseconds: clock.nowMs() - startedMs,
  });
  let isLate = false;
  let waitsFor = '';
  const waiting = (reason: string): void => {
    waitsFor = reason;
  };
  const own = { ...prepared, name: `${prepared.name}.probe` };
  const opening = openLink(around, own, abort.signal, { waiting, lost: () => {} }, true);
  opening.then(
    (link) => {
      if (isLate) void closed(clock, link);
    },
    () => {},
  );
  try {
    const late = () => openedTooLate(PROBE_MS_MAX, waitsFor);
    const link = await within(clock, PROBE_MS_MAX, opening, late);
    const done = result({ ok: true, failure: null, detail: '' });
    await closed(clock, link);
    return done;
  } catch (error) {
    isLate = true;
    abort.abort();
    return result({ ok: false, failure: failureOf(error), detail: textOf(error) });
  }
}

/** A bridge that does nothing, to try a connection with. */
export function bareBridge(connection: PreparedConnection, definition: BridgeDefinition): PreparedBridge {
  const { driver, name } = connection;
  const [delivery = 'at-least-once'] = driver.deliveries.out;
  const options = checked(driver.optionsSchema.out, {}, '/options') as Readonly<Record<string, unknown>>;
  return {
    name,
    given: {},
    definition: { ...definition, connection: name, delivery, options },
    connection,
    mappings: [],
    sources: [],
    fault: null,
  };
}
