/**
 * Exchange and routing key ⇔ address, and bindings as patterns. Every exchange is a subtree of the address space:
 * exchange `X` with key `k` is the address `X/k` with the separators `.` and `/` of the key exchanged, an
 * involution that loses nothing and keeps length and level count. `amq.topic` is the root of the whole space, the
 * default exchange reaches queues by name. Called by the adapter where it meets a name for the first time; pure.
 */

import {
  DEAD_LETTER_ROOT,
  defaultExchangeAddress,
  escapeLevel,
  isReplyAddress,
  MANY,
  ONE,
  Pattern,
  QUEUE_ROOT,
  REPLY_PREFIX as REPLY_ADDRESS_PREFIX,
  ROOT_EXCHANGE,
  swapSeparators,
  type Token,
  unescapeLevel,
} from '../src/core/index.ts';

/** Bytes of an exchange, key or queue name on the wire: a short string (AMQP 0-9-1 4.2.5.3). */
export const SHORT_STRING_BYTES_MAX = 255;
/** Stands for an address that is too long for a key; the address itself is in the header `x-gw-address`. */
export const LONG_ADDRESS_KEY = 'amq.gw.address';
/** Before an address that answers go to, in a `reply-to`: publishing it as a key to the default exchange arrives there. */
export const REPLY_PREFIX = 'amq.gw.reply/';

/** Before the token of an address under `$reply`, in a `reply-to` and as a key of the default exchange. */
export const REPLY_TOKEN_PREFIX = 'amq.gw.reply.';

/** Where a message goes, in this protocol's words. */
export interface Amqp091Route {
  readonly exchange: string;
  readonly key: string;
  /** The names cannot carry the address; a delivery shows it in the header `x-gw-address`. */
  readonly long: boolean;
}

/** How all names for answers begin. */
const REPLY_NAMES = 'amq.gw.reply';
const QUEUE_PREFIX = `${QUEUE_ROOT}/`;
const DEAD_LETTER_PREFIX = `${DEAD_LETTER_ROOT}/`;
/** A key of the default exchange that begins so is no queue's name. */
const ADDRESS_PREFIXES = [REPLY_PREFIX, REPLY_TOKEN_PREFIX, QUEUE_PREFIX, DEAD_LETTER_PREFIX];

/** The address of messages that are published to `exchange` with `key`. */
export function addressFromAmqp091(exchange: string, key: string): string {
  if (exchange === '') {
    if (!key.startsWith(REPLY_NAMES)) return defaultExchangeAddress(key);
    if (key.startsWith(REPLY_PREFIX)) return key.slice(REPLY_PREFIX.length);
    return key.startsWith(REPLY_TOKEN_PREFIX)
      ? REPLY_ADDRESS_PREFIX + key.slice(REPLY_TOKEN_PREFIX.length)
      : defaultExchangeAddress(key);
  }
  if (exchange === ROOT_EXCHANGE) return swapSeparators(key);
  const root = escapeLevel(exchange);
  return key === '' ? root : `${root}/${swapSeparators(key)}`;
}

/**
 * The exchange and key under which a message at `address` is shown. `via` is the exchange through whose binding it
 * came, null where none was involved. For every answer that is not `long`, `addressFromAmqp091` leads back.
 */
export function amqp091FromAddress(address: string, via: string | null): Amqp091Route {
  if (via !== null && via !== '' && via !== ROOT_EXCHANGE) {
    const key = keyUnderExchange(address, via);
    if (key !== null && fits(via) && fits(key)) return { exchange: via, key, long: false };
  }
  if (via !== ROOT_EXCHANGE) {
    const own = routeByFirstLevel(address);
    if (own !== null && fits(own.exchange) && fits(own.key)) return own;
  }
  const key = swapSeparators(address);
  if (fits(key)) return { exchange: ROOT_EXCHANGE, key, long: false };
  return { exchange: ROOT_EXCHANGE, key: LONG_ADDRESS_KEY, long: true };
}

function keyUnderExchange(address: string, exchange: string): string | null {
  const root = escapeLevel(exchange);
  if (address === root) return '';
  if (!address.startsWith(root) || address[root.length] !== '/') return null;
  const key = swapSeparators(address.slice(root.length + 1));
  // `X/` is not `X`: the empty key already stands for the latter.
  return key === '' ? null : key;
}

function routeByFirstLevel(address: string): Amqp091Route | null {
  if (address.startsWith(QUEUE_PREFIX) && !address.includes('/', QUEUE_PREFIX.length)) {
    const key = unescapeLevel(address.slice(QUEUE_PREFIX.length));
    // A queue's name that reads as an address of the default exchange means that address.
    const isName = !ADDRESS_PREFIXES.some((prefix) => key.startsWith(prefix));
    return isName ? { exchange: '', key, long: false } : null;
  }
  // Below a queue: its address itself is the key.
  if (address.startsWith(QUEUE_PREFIX)) return { exchange: '', key: address, long: false };
  const slash = address.indexOf('/');
  const exchange = unescapeLevel(slash < 0 ? address : address.slice(0, slash));
  // These two names are no subtrees: the key of the one is a whole address, of the other a queue.
  if (exchange === '' || exchange === ROOT_EXCHANGE) return null;
  const key = slash < 0 ? '' : swapSeparators(address.slice(slash + 1));
  if (slash >= 0 && key === '') return null;
  return { exchange, key, long: false };
}

function fits(text: string): boolean {
  if (text.length > SHORT_STRING_BYTES_MAX) return false;
  return text.length * 3 <= SHORT_STRING_BYTES_MAX || Buffer.byteLength(text) <= SHORT_STRING_BYTES_MAX;
}

/** What a queue shows as the key that reaches it, in a `reply-to`. Null where nothing short enough does. */
export function replyToFromAddress(address: string): string | null {
  if (isReplyAddress(address)) {
    const name = REPLY_TOKEN_PREFIX + address.slice(REPLY_ADDRESS_PREFIX.length);
    return fits(name) ? name : null;
  }
  const route = amqp091FromAddress(address, null);
  if (route.exchange === '' && !route.long) return route.key;
  const text = REPLY_PREFIX + address;
  return fits(text) ? text : null;
}

/** The address that answers to this `reply-to` go to: it is a key of the default exchange. */
export function addressFromReplyTo(replyTo: string): string {
  return addressFromAmqp091('', replyTo);
}

/** The addresses that a topic binding with `key` on `exchange` selects. */
export function patternFromAmqp091(exchange: string, key: string): Pattern {
  const words: Token[] = key
    .split('.')
    .map((word) => (word === '*' ? ONE : word === '#' ? MANY : word.replaceAll('/', '.')));
  return new Pattern(exchange === ROOT_EXCHANGE ? words : [escapeLevel(exchange), ...words]);
}

/**
 * The topic binding on `amq.topic` that selects what `pattern` does, or null where none can: a literal level that
 * is itself `*` or `#` cannot be said in a binding key.
 */
export function amqp091FromPattern(pattern: Pattern): string | null {
  const words: string[] = [];
  for (const token of pattern.tokens) {
    if (token === '*' || token === '#') return null;
    words.push(token === ONE ? '*' : token === MANY ? '#' : token.replaceAll('.', '/'));
  }
  return words.join('.');
}
