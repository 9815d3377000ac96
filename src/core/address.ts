/**
 * Addresses: text of levels separated by `/`, levels may be empty. The codecs of each protocol live in
 * `mappings`; here are only the rules that all of them share. A name of something else (an exchange, a queue)
 * becomes exactly one level through `escapeLevel`.
 */

/** The address through which a queue is reached by its name. */
export const QUEUE_ROOT = '$queue';

/** The exchange whose subtree is the whole address space. */
export const ROOT_EXCHANGE = 'amq.topic';

const ESCAPED_SLASH = /%((?:25)*2F)/g;

/** Any text as one level: `/` becomes `%2F`, and text that would read as such an escape gets one more `25`. */
export function escapeLevel(text: string): string {
  return text.replace(ESCAPED_SLASH, '%25$1').replaceAll('/', '%2F');
}

/** Undoes `escapeLevel`. */
export function unescapeLevel(level: string): string {
  return level.replace(ESCAPED_SLASH, (_, code: string) => (code === '2F' ? '/' : `%${code.slice(2)}`));
}

/** The address of a queue. */
export function queueAddress(name: string): string {
  return `${QUEUE_ROOT}/${escapeLevel(name)}`;
}

/** The address of key `key` (in address form) of an exchange; the default exchange reaches queues by name. */
export function exchangeAddress(exchange: string, key: string): string {
  if (exchange === '') return queueAddress(swapSeparators(key));
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
  if (first === QUEUE_ROOT) return { exchange: '', key: swapSeparators(unescapeLevel(rest)) };
  return { exchange: unescapeLevel(first), key: rest };
}

/** `.` and `/` change places: a key of words separated by dots as levels of an address, and back. */
export function swapSeparators(text: string): string {
  return text.replace(/[./]/g, (separator) => (separator === '.' ? '/' : '.'));
}
