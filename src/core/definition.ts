/**
 * Definitions (queues, exchanges, bindings, sessions) and explicit message properties as JSON text in bytes.
 * JSON has neither big integers nor bytes nor some numbers, so those travel as `{"$n": "…"}`, `{"$b": "base64"}` and
 * `{"$f": "NaN"}`; no definition has keys of these names. Used by everything that stores small things in a table.
 */

import { Buffer } from 'node:buffer';

export function encodeDefinition(value: unknown): Uint8Array {
  return Buffer.from(
    JSON.stringify(value, (_key, part: unknown) => {
      if (typeof part === 'bigint') return { $n: part.toString() };
      // A Buffer has been turned to its own JSON form before the replacer sees it.
      if (isBufferJson(part)) return { $b: Buffer.from(part.data).toString('base64') };
      if (part instanceof Uint8Array) return { $b: Buffer.from(part).toString('base64') };
      if (typeof part === 'number' && (!Number.isFinite(part) || Object.is(part, -0))) {
        return { $f: Object.is(part, -0) ? '-0' : String(part) };
      }
      return part;
    }),
  );
}

export function decodeDefinition(bytes: Uint8Array): unknown {
  return JSON.parse(Buffer.from(bytes).toString('utf8'), (_key, part: unknown) => {
    if (typeof part !== 'object' || part === null) return part;
    if ('$n' in part) return BigInt(part.$n as string);
    if ('$b' in part) return new Uint8Array(Buffer.from(part.$b as string, 'base64'));
    if ('$f' in part) return Number(part.$f);
    return part;
  });
}

function isBufferJson(part: unknown): part is { readonly data: number[] } {
  return (
    typeof part === 'object' && part !== null && 'type' in part && part.type === 'Buffer' && 'data' in part
  );
}
