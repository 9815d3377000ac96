/**
 * Headers that a protocol cannot hold where they stand: names or texts that are too long or have characters that it
 * forbids. They travel beside the others in the gateway's header `x-gw-overflow`, each with its place, and return to
 * it. Used by the mappings of MQTT and AMQP 0-9-1; pure.
 *
 * As text it is JSON, `[[place, name, value], …]` with values as in `jsonFromValue`, cut into pieces that fit; a place
 * of -1 says that the header is a property of the message. What is not written so is passed over.
 */

import type { Header } from '../src/core/index.ts';
import { isReservedName, jsonFromValue, valueFromJson } from './header-values.ts';

/** A header and where it stands among the publisher's own; -1: it is a property. */
export interface PlacedHeader {
  readonly at: number;
  readonly header: Header;
}

export const PROPERTY_PLACE = -1;

/** UTF-16 units of a piece, so that it fits 65,535 bytes whatever it is made of. */
const PIECE_UNITS_MAX = 20_000;

/** `rest` in its order, with the placed ones put back where they stood. */
export function placeHeaders(rest: readonly Header[], placed: readonly PlacedHeader[]): readonly Header[] {
  if (placed.length === 0) return rest;
  const sorted = placed.toSorted((a, b) => a.at - b.at);
  const headers: Header[] = [];
  let next = 0;
  for (const header of rest) {
    while (next < sorted.length && (sorted[next] as PlacedHeader).at <= headers.length) {
      headers.push((sorted[next++] as PlacedHeader).header);
    }
    headers.push(header);
  }
  while (next < sorted.length) headers.push((sorted[next++] as PlacedHeader).header);
  return headers;
}

/** To be sent in this order. None where nothing overflows. */
export function textsFromOverflow(overflow: readonly PlacedHeader[]): string[] {
  if (overflow.length === 0) return [];
  const json = JSON.stringify(
    overflow.map(({ at, header }) => [at, header.name, jsonFromValue(header.value)]),
  );
  const texts: string[] = [];
  for (let start = 0; start < json.length; ) {
    let end = Math.min(json.length, start + PIECE_UNITS_MAX);
    const last = json.charCodeAt(end - 1);
    // Both halves of a character outside the first plane stay together.
    if (end < json.length && last >= 0xd800 && last < 0xdc00) end--;
    texts.push(json.slice(start, end));
    start = end;
  }
  return texts;
}

/** Undoes `textsFromOverflow`. Reserved names are the gateway's alone, here too. */
export function overflowFromTexts(texts: readonly string[]): PlacedHeader[] {
  if (texts.length === 0) return [];
  let json: unknown;
  try {
    json = JSON.parse(texts.join(''));
  } catch {
    return [];
  }
  if (!Array.isArray(json)) return [];
  return json.flatMap((entry: unknown): PlacedHeader[] => {
    if (!Array.isArray(entry) || entry.length !== 3) return [];
    const [at, name, held] = entry as readonly unknown[];
    if (!Number.isInteger(at) || typeof name !== 'string' || isReservedName(name)) return [];
    const value = valueFromJson(held);
    return value === null ? [] : [{ at: at as number, header: { name, value } }];
  });
}
