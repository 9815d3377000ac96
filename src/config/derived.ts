/**
 * Settings that follow from others: sidecar mode, and the bounds that follow from `gateway.memoryMebibytes`. Applied by
 * `index.ts` after every source was read, to settings that nobody has set; their origin says what they come from.
 *
 * A share is the memory divided by a number: bytes for a bound in bytes, and for a bound in pieces what one of them may
 * take. A setting never rises above its default by this, nor falls below its minimum.
 */

import { isLoopbackHost } from '../net/loopback.ts';
import type { ConfigDraft } from './draft.ts';
import { listSettings } from './schema.ts';
import { MEBIBYTES_MIN, SIDECAR_MEBIBYTES } from './sidecar-memory.ts';

/** Divisors by path. The protocols' own are given by `src/main.ts`. */
export type MemoryShares = Readonly<Record<string, number>>;

const BYTES_PER_MEBIBYTE = 1024 * 1024;

export const HOST_SHARES: MemoryShares = {
  'storage.tailBytesMax': 32,
  'storage.checkpointBytes': 128,
  'network.outputPoolBytesMax': 64,
  'limits.messageBytesMax': 32,
  'limits.heldBytesMax': 8,
  'limits.queueMemoryBytesMax': 64,
  'limits.uncommittedBytesMax': 32,
  'limits.decompressedBytesMax': 16,
  'limits.repliesKeptBytesMax': 128,
  'limits.routeCacheEntriesMax': 16_384,
  'limits.sessionsMax': 8_192,
  'auth.passwords.concurrencyMax': 128 * BYTES_PER_MEBIBYTE,
};

/** `listeners` are the sections that have a `host`. */
export function applyDerived(draft: ConfigDraft, shares: MemoryShares, listeners: readonly string[]): void {
  const gateway = draft.settings.gateway as GatewaySection | undefined;
  if (gateway === undefined) return;
  if (gateway.sidecar) {
    refuseOutsideListeners(draft, listeners);
    derive(draft, 'gateway.memoryMebibytes', SIDECAR_MEBIBYTES, 'sidecar mode (gateway.sidecar)');
  }
  const { memoryMebibytes } = gateway;
  if (memoryMebibytes === 0) return;
  if (memoryMebibytes < MEBIBYTES_MIN) {
    const origin = draft.origins.get('gateway.memoryMebibytes') ?? 'default';
    draft.problems.push(
      `${origin}: gateway.memoryMebibytes must be 0 or at least ${MEBIBYTES_MIN}, not ${memoryMebibytes} (MiB)`,
    );
    return;
  }
  const origin = `of ${memoryMebibytes} MiB (gateway.memoryMebibytes)`;
  for (const [path, schema] of listSettings(draft.root)) {
    const name = path.join('.');
    const divisor = shares[name];
    if (divisor === undefined) continue;
    const share = Math.floor((memoryMebibytes * BYTES_PER_MEBIBYTE) / divisor);
    derive(draft, name, Math.min(Number(schema.default), Math.max(schema.minimum ?? 0, share)), origin);
  }
}

interface GatewaySection {
  readonly sidecar: boolean;
  readonly memoryMebibytes: number;
}

/** Explicit settings stand. */
function derive(draft: ConfigDraft, name: string, value: unknown, origin: string): void {
  if (draft.origins.has(name)) return;
  const path = name.split('.');
  let branch = draft.settings;
  for (const key of path.slice(0, -1)) branch = branch[key] as Record<string, unknown>;
  branch[path.at(-1) as string] = value;
  draft.origins.set(name, origin);
}

/** Whoever is let in unproven is let in from this machine, or pod, alone. */
function refuseOutsideListeners(draft: ConfigDraft, listeners: readonly string[]): void {
  for (const section of listeners) {
    const { enabled, host } = draft.settings[section] as {
      readonly enabled?: boolean;
      readonly host?: string;
    };
    if (enabled === false || host === undefined || isLoopbackHost(host)) continue;
    const origin = draft.origins.get(`${section}.host`) ?? 'default';
    draft.problems.push(
      `${origin}: ${section}.host is ${host}, and in sidecar mode (gateway.sidecar) it must be a loopback address, ` +
        `such as 127.0.0.1; or set ${section}.enabled to false`,
    );
  }
}
