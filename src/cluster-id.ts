/**
 * The random id of a data folder, made once and kept in it: protocols that name their cluster show it. Read by
 * `gateway.ts` at start.
 */

import { randomBytes } from 'node:crypto';
import type { Storage } from './core/storage.ts';

const TABLE = 'gateway';
const KEY = 'cluster-id';
export const CLUSTER_ID_BYTES = 16;

/** Durable before it is returned: nobody is ever told an id that is forgotten. */
export async function readClusterId(storage: Storage): Promise<Uint8Array> {
  const table = await storage.openTable(TABLE);
  const kept = await table.get(KEY);
  if (kept?.length === CLUSTER_ID_BYTES) return kept;
  const made = randomBytes(CLUSTER_ID_BYTES);
  table.put(KEY, made);
  await new Promise<void>((resolve, reject) => {
    storage.commit((error) => (error === null ? resolve() : reject(error)));
  });
  return made;
}
