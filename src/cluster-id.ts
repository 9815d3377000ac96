/**
 * Random values of a data folder, each made once and kept in it: the id that protocols which name their cluster show,
 * and the key that seals reply addresses, which is never shown. Read by `gateway.ts` at start.
 */

import { createHmac, randomBytes } from 'node:crypto';
import type { Storage } from './core/storage.ts';

const TABLE = 'gateway';
const CLUSTER_ID = 'cluster-id';
const REPLY_KEY = 'reply-key';
export const CLUSTER_ID_BYTES = 16;
const REPLY_KEY_BYTES = 32;

export function readClusterId(storage: Storage): Promise<Uint8Array> {
  return readKept(storage, CLUSTER_ID, CLUSTER_ID_BYTES);
}

/** Seals with a key of the data folder, so that a seal holds after a restart and in no other folder. */
export async function readReplySeal(storage: Storage): Promise<(bytes: Uint8Array) => Uint8Array> {
  const key = await readKept(storage, REPLY_KEY, REPLY_KEY_BYTES);
  return (bytes) => createHmac('sha256', key).update(bytes).digest();
}

/** Durable before it is returned: nobody is ever told what is forgotten. */
async function readKept(storage: Storage, name: string, bytes: number): Promise<Uint8Array> {
  const table = await storage.openTable(TABLE);
  const kept = await table.get(name);
  if (kept?.length === bytes) return kept;
  const made = randomBytes(bytes);
  table.put(name, made);
  await new Promise<void>((resolve, reject) => {
    storage.commit((error) => (error === null ? resolve() : reject(error)));
  });
  return made;
}
