/**
 * By what a public key is known, wherever it stands: the digest of its subjectPublicKeyInfo (RFC 5280 4.1.2.7). Used by
 * `jwt.ts` to remember which key let somebody in, and by `jwt-keys.ts` and `jwt-remote-keys.ts` to say which are there.
 */

import { createHash, createPublicKey, type JsonWebKey, KeyObject } from 'node:crypto';
import type { CryptoKey, createLocalJWKSet, JSONWebKeySet } from 'jose';

/** Gives the one key that fits the header, or throws as jose does where none or several fit. */
export type KeySet = (...header: Parameters<ReturnType<typeof createLocalJWKSet>>) => Promise<CryptoKey>;

export function idOfKey(key: KeyObject | CryptoKey): string {
  const object = key instanceof KeyObject ? key : KeyObject.from(key as Parameters<typeof KeyObject.from>[0]);
  return createHash('sha256')
    .update(object.export({ type: 'spki', format: 'der' }))
    .digest('base64');
}

/** Throws where it is no set of keys. */
export function idsFromKeySet({ keys }: JSONWebKeySet): ReadonlySet<string> {
  const ids = new Set<string>();
  for (const key of keys) {
    try {
      ids.add(idOfKey(createPublicKey({ key: key as JsonWebKey, format: 'jwk' })));
    } catch {
      // A key of a kind that no token here can be verified with.
    }
  }
  return ids;
}
