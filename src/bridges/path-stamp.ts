/**
 * How it is known where a message has been, so that bridges that make a circle do not send it round. Gateways know each
 * other by a stamp: the header PATH_HEADER with the ids of the gateways that a message left by a bridge, oldest first. An
 * outside broker that is no gateway has no id; of what came from one its publisher's name here tells by which bridge and
 * as what. Pure.
 */

import type { Header, Message } from '../core/index.ts';
import { PATH_HEADER } from '../outside.ts';

/** Gateways that a message may leave. */
export const HOPS_MAX = 8;
/** A message that another client than a gateway's bridge brings back may leave once more, not again and again. */
const LEFT_HERE_MAX = 1;
const PUBLISHER_PREFIX = 'bridge:';

/** The ids in a message's stamps, in their order. */
export function pathOf(message: Message): readonly string[] {
  const { headers } = message.properties;
  let path: string[] | null = null;
  for (const { name, value } of headers) {
    if (name !== PATH_HEADER) continue;
    const text = textOf(value);
    if (text === '') continue;
    path = [...(path ?? []), ...text.split(',').map((id) => id.trim())];
  }
  return path ?? NOWHERE;
}

/** The message as it leaves this gateway, or null where it must not. `peer`: the gateway that it would go to. */
export function stamped(message: Message, gatewayId: string, peer: string | null): Message | null {
  const path = pathOf(message);
  if (path.length >= HOPS_MAX) return null;
  if (peer !== null && path.includes(peer)) return null;
  if (path.filter((id) => id === gatewayId).length > LEFT_HERE_MAX) return null;
  return withPath(message, path, gatewayId);
}

/**
 * The message as it is taken in from the gateway `peer`, null where the other side is none. What a client published there
 * bears no stamp, and still must not go back.
 */
export function arrived(message: Message, peer: string | null): Message {
  if (peer === null) return message;
  const path = pathOf(message);
  return path.includes(peer) ? message : withPath(message, path, peer);
}

/** Whose message it is that came in by a bridge, at this address before it was mapped. Names of bridges hold no blank. */
export function publisherOf(bridge: string, address: string): string {
  return `${PUBLISHER_PREFIX}${bridge} ${address}`;
}

/** By which bridge a message came in, and at which address; null where it came otherwise. */
export function arrivalOf({
  publisherId,
}: Message): { readonly bridge: string; readonly address: string } | null {
  if (!publisherId.startsWith(PUBLISHER_PREFIX)) return null;
  const blank = publisherId.indexOf(' ');
  if (blank < 0) return null;
  return {
    bridge: publisherId.slice(PUBLISHER_PREFIX.length, blank),
    address: publisherId.slice(blank + 1),
  };
}

function withPath(message: Message, path: readonly string[], last: string): Message {
  const { properties } = message;
  const stamp: Header = {
    name: PATH_HEADER,
    value: { kind: 'string', value: [...path, last].join(',') },
  };
  const headers =
    path.length === 0 ? properties.headers : properties.headers.filter(({ name }) => name !== PATH_HEADER);
  return message.with({ properties: { ...properties, headers: [...headers, stamp] } });
}

const NOWHERE: readonly string[] = [];

function textOf(value: Header['value']): string {
  if (value.kind === 'string') return value.value;
  return value.kind === 'bytes' ? Buffer.from(value.value).toString('latin1') : '';
}
