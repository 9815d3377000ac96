/**
 * Addresses: text of levels separated by `/`, levels may be empty. The codecs of each protocol live in
 * `mappings`; here are only the rules that all of them share. A name of something else (an exchange, a queue)
 * becomes exactly one level through `escapeLevel`.
 */

/** The address through which a queue is reached by its name. */
export const QUEUE_ROOT = '$queue';

/** The root of the queues that gather dead letters: the queue `$dlq/q` has the address of that name. */
export const DEAD_LETTER_ROOT = '$dlq';

/** The root of the names of queues that are the buffers of bridges. They have no address, and no client sees them. */
export const BUFFER_ROOT = '$bridge';

export function bufferName(bridge: string): string {
  return `${BUFFER_ROOT}/${bridge}`;
}

/** The bridge whose buffer has this name; null for a name of something else. */
export function bridgeOfBuffer(name: string): string | null {
  return name.startsWith(`${BUFFER_ROOT}/`) ? name.slice(BUFFER_ROOT.length + 1) : null;
}

/** The exchange whose subtree is the whole address space. */
export const ROOT_EXCHANGE = 'amq.topic';

/** How many levels `text` has: one more than separators. */
export function countLevels(text: string): number {
  let levels = 1;
  for (let at = text.indexOf('/'); at >= 0; at = text.indexOf('/', at + 1)) levels++;
  return levels;
}

const ESCAPED_SLASH = /%((?:25)*2F)/g;

/** Any text as one level: `/` becomes `%2F`, and text that would read as such an escape gets one more `25`. */
export function escapeLevel(text: string): string {
  return text.replace(ESCAPED_SLASH, '%25$1').replaceAll('/', '%2F');
}

/** Undoes `escapeLevel`. */
export function unescapeLevel(level: string): string {
  return level.replace(ESCAPED_SLASH, (_, code: string) => (code === '2F' ? '/' : `%${code.slice(2)}`));
}

const QUEUE_PREFIX = `${QUEUE_ROOT}/`;
const DEAD_LETTER_PREFIX = `${DEAD_LETTER_ROOT}/`;

/** The two levels of a queue's address. */
export function queueLevels(name: string): readonly [root: string, level: string] {
  return name.startsWith(DEAD_LETTER_PREFIX)
    ? [DEAD_LETTER_ROOT, escapeLevel(name.slice(DEAD_LETTER_PREFIX.length))]
    : [QUEUE_ROOT, escapeLevel(name)];
}

/** The address of a queue. */
export function queueAddress(name: string): string {
  return queueLevels(name).join('/');
}

/** The queue at whose address, or below it, this one is; null for one that belongs to no queue. */
export function queueNameFromAddress(address: string): string | null {
  if (address.charCodeAt(0) !== 0x24) return null;
  const isDead = address.startsWith(DEAD_LETTER_PREFIX);
  if (!isDead && !address.startsWith(QUEUE_PREFIX)) return null;
  const start = isDead ? DEAD_LETTER_PREFIX.length : QUEUE_PREFIX.length;
  const end = address.indexOf('/', start);
  const name = unescapeLevel(end < 0 ? address.slice(start) : address.slice(start, end));
  if (name === '') return null;
  // Its own root tells such a queue from one that only has the name: no queue has two addresses.
  return isDead ? DEAD_LETTER_PREFIX + name : name;
}

/** Where a key of the default exchange leads: to the queue of that name, or below it where the key says so. */
export function defaultExchangeAddress(key: string): string {
  return key.startsWith(QUEUE_PREFIX) && key.length > QUEUE_PREFIX.length ? key : queueAddress(key);
}

/** The address of key `key` (in address form) of an exchange; the default exchange reaches queues by name. */
export function exchangeAddress(exchange: string, key: string): string {
  if (exchange === '') return defaultExchangeAddress(swapSeparators(key));
  if (exchange === ROOT_EXCHANGE) return key;
  return key === '' ? escapeLevel(exchange) : `${escapeLevel(exchange)}/${key}`;
}

/** The exchange and key (in address form) that an address was published with, as far as it tells. */
export function originOf(
  address: string,
  via: string | null,
): { readonly exchange: string; readonly key: string } {
  if (via === ROOT_EXCHANGE) return { exchange: ROOT_EXCHANGE, key: address };
  const slash = address.indexOf('/');
  const first = slash < 0 ? address : address.slice(0, slash);
  const rest = slash < 0 ? '' : address.slice(slash + 1);
  if (first === QUEUE_ROOT) {
    const key = rest.includes('/') ? address : unescapeLevel(rest);
    return { exchange: '', key: swapSeparators(key) };
  }
  return { exchange: unescapeLevel(first), key: rest };
}

/** `.` and `/` change places: a key of words separated by dots as levels of an address, and back. */
export function swapSeparators(text: string): string {
  return text.replace(/[./]/g, (separator) => (separator === '.' ? '/' : '.'));
}
