/** The numbers of all bridges, as they are scraped, and whether the gateway is ready as far as they matter. */

import { BRIDGE_STATES, type BridgeView } from './index.ts';

interface Sample {
  readonly name: string;
  readonly help: string;
  readonly kind: 'counter' | 'gauge';
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export function* sampleBridges(views: Iterable<BridgeView>): Generator<Sample> {
  for (const { name: bridge, status } of views) {
    const { state, lag, counters } = status;
    for (const each of BRIDGE_STATES)
      yield {
        name: 'bridge_state',
        help: 'Whether a bridge is in this state',
        kind: 'gauge',
        labels: { bridge, state: each },
        value: each === state ? 1 : 0,
      };
    const labels = { bridge };
    const gauges = [
      ['bridge_lag_messages', 'Messages that wait for the other side or are on their way', lag.messages],
      ['bridge_lag_bytes', 'Bytes of the bodies that wait for the other side', lag.bytes],
      ['bridge_lag_seconds', 'Age of the oldest message that waits for the other side', lag.seconds],
    ] as const;
    for (const [name, help, value] of gauges) yield { name, help, kind: 'gauge', labels, value };
    const counts = [
      ['bridge_taken_total', 'Messages that a bridge took', counters.taken],
      ['bridge_done_total', 'Messages that arrived on the other side of a bridge', counters.done],
      ['bridge_done_bytes_total', 'Bytes of their bodies', counters.doneBytes],
      ['bridge_repeated_total', 'Messages sent again because an answer did not come', counters.repeated],
      ['bridge_dead_lettered_total', 'Messages of a bridge that became dead letters', counters.deadLettered],
      ['bridge_refused_total', 'Messages given back to the other side', counters.refused],
    ] as const;
    for (const [name, help, value] of counts) yield { name, help, kind: 'counter', labels, value };
    for (const [reason, value] of Object.entries(counters.dropped)) {
      const help = 'Messages of a bridge that were dropped, by reason';
      yield { name: 'bridge_dropped_total', help, kind: 'counter', labels: { bridge, reason }, value };
    }
  }
}

export interface BridgeCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail?: string;
}

/** One check for each bridge that is required. Anybody may ask for them, so they do not say what the other side said. */
export function checksOf(views: Iterable<BridgeView>): BridgeCheck[] {
  const checks: BridgeCheck[] = [];
  for (const { name, definition, status } of views) {
    if (!definition.required) continue;
    const { state } = status;
    const ok = state === 'connected' || state === 'degraded';
    checks.push({ name: `bridge:${name}`, ok, ...(state === 'connected' ? {} : { detail: state }) });
  }
  return checks;
}
