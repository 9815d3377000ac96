/**
 * Addresses: text of levels separated by `/`, levels may be empty. The codecs of each protocol live in
 * `mappings`; here are only the rules that all of them share. A name of something else (an exchange, a queue)
 * becomes exactly one level through `escapeLevel`.
 */

/** The address through which a queue is reached by its name. */
export const QUEUE_ROOT = '$queue';

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
