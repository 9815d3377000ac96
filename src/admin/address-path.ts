/**
 * Addresses and filters at the end of a path, as `/v1/messages/*` and `/v1/retained/*` have them: slashes and all. Such
 * a part has no schema of its own, because the checker cannot take `*` for a name; it is read and described here.
 */

import Type from 'typebox';
import { problem } from './problems.ts';

/** For the OpenAPI document, where the part is a parameter of this name. */
export const addressParams = Type.Object({
  address: Type.String({ minLength: 1, description: 'With its slashes, other characters percent-encoded.' }),
});
export const ADDRESS_POINTER = '/address';

/** The decoded rest of the path. */
export function addressFromPath({ params }: { readonly params: unknown }): string {
  const address = (params as { readonly '*'?: string })['*'] ?? '';
  if (address === '') throw problem('invalid-request', 'path', ADDRESS_POINTER, 'the address is missing');
  return address;
}
