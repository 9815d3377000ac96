/**
 * Addresses ⇔ names of Kafka topics. A topic name has letters, digits, `.`, `_` and `-`, at most 249 of them; an
 * address is any text without U+0000. Two addresses never share a name, and every legal name that is not a digest
 * stands for exactly one address. Used by the adapter and, through the gateway, by the core for its streams. Pure.
 *
 * - `/` is `.`; letters, digits, `_` and `-` stay; of anything else each byte of its UTF-8 is `-x` and two
 *   hexadecimal digits in capitals.
 * - A `-` that would read as the start of such an escape is `-x2D`. An escape that no address needs (`-x41`) is
 *   plain text, so that a name chosen by a Kafka client keeps its spelling.
 * - The names `.` and `..`, which Kafka forbids, are `-x2F` and `-x2F-x2F`.
 * - A longer name is its first 220 characters, `-h` and 24 hexadecimal digits of the address's SHA-256. From such a
 *   name the address cannot be computed: it travels in the header `x-gw-address`.
 */

import { createHash } from 'node:crypto';

export const TOPIC_NAME_CHARS_MAX = 249;
const DIGEST_PREFIX_CHARS = 220;
const DIGEST_HEX_CHARS = 24;
const DIGEST_NAME_CHARS = DIGEST_PREFIX_CHARS + 2 + DIGEST_HEX_CHARS;
const DIGEST = /^-h[0-9a-f]{24}$/;
/** What an address looks like in Kafka when its literal text ends like a digest. */
const ESCAPED_DIGEST = /^-x2Dh[0-9a-f]{24}$/;

const LEGAL = /^[A-Za-z0-9._-]{1,249}$/;
const SIMPLE = /^[A-Za-z0-9_/]+$/;
/** Everything that is not copied: a hyphen only where an `x` follows, as in every escape. */
const SPECIAL = /\/|-(?=x)|[^A-Za-z0-9_\-/]/gu;

const DOT = 0x2e;
const SLASH = 0x2f;
const HYPHEN = 0x2d;
const LETTER_X = 0x78;

/** What Kafka itself takes for a topic name. */
export function isTopicName(name: string): boolean {
  return LEGAL.test(name) && name !== '.' && name !== '..';
}

/** Whether the name holds a digest, so that its address cannot be computed. */
export function isDigestName(name: string): boolean {
  return name.length === DIGEST_NAME_CHARS && DIGEST.test(name.slice(DIGEST_PREFIX_CHARS));
}

/** The topic name of an address, which must not be empty. */
export function kafkaFromAddress(address: string): string {
  const name = SIMPLE.test(address) ? address.replaceAll('/', '.') : encodeAddress(address);
  if (name.length < DIGEST_NAME_CHARS) {
    if (name === '.') return '-x2F';
    return name === '..' ? '-x2F-x2F' : name;
  }
  if (isDigestName(name))
    return `${name.slice(0, DIGEST_PREFIX_CHARS)}-x2D${name.slice(DIGEST_PREFIX_CHARS + 1)}`;
  if (name.length <= TOPIC_NAME_CHARS_MAX && !isEscapedDigestName(name)) return name;
  const digest = createHash('sha256').update(address).digest('hex').slice(0, DIGEST_HEX_CHARS);
  return `${name.slice(0, DIGEST_PREFIX_CHARS)}-h${digest}`;
}

function isEscapedDigestName(name: string): boolean {
  return name.length === TOPIC_NAME_CHARS_MAX && ESCAPED_DIGEST.test(name.slice(DIGEST_PREFIX_CHARS));
}

function encodeAddress(address: string): string {
  return address.replace(SPECIAL, (found: string, at: number) => {
    if (found === '/') return '.';
    if (found === '-') return escapeAt(address, at) === 0 ? '-' : '-x2D';
    let escapes = '';
    for (const byte of Buffer.from(found)) escapes += hexEscape(byte);
    return escapes;
  });
}

function hexEscape(byte: number): string {
  return `-x${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}

/**
 * The address that a topic name stands for. Of a name with a digest it is the name's own text, which is no
 * address's name: only a stream's record tells the real one.
 */
export function addressFromKafka(topic: string): string {
  if (!topic.includes('-x')) return topic.replaceAll('.', '/');
  if (topic === '-x2F') return '/';
  if (topic === '-x2F-x2F') return '//';
  const escapedDigest = isEscapedDigestName(topic);
  let address = '';
  let at = 0;
  while (at < topic.length) {
    const hyphen = topic.indexOf('-x', at);
    if (hyphen < 0) break;
    address += topic.slice(at, hyphen).replaceAll('.', '/');
    if (escapedDigest && hyphen === DIGEST_PREFIX_CHARS) {
      address += '-';
      at = hyphen + 4;
      continue;
    }
    const escaped = escapeAt(topic, hyphen);
    address += escaped === 0 ? '-' : decodeEscapes(topic.slice(hyphen, hyphen + escaped));
    at = hyphen + Math.max(1, escaped);
  }
  return address + topic.slice(at).replaceAll('.', '/');
}

function decodeEscapes(escapes: string): string {
  return Buffer.from(escapes.replaceAll('-x', ''), 'hex').toString();
}

/**
 * How many characters from `at` on are one escape that `encodeAddress` would write, or 0. The answer is the same
 * for a name and for the address whose literal text it is, because both hold such text unchanged.
 */
function escapeAt(text: string, at: number): number {
  const byte = escapedByte(text, at);
  if (byte < 0) return 0;
  if (byte === HYPHEN) return isEscapedHyphen(text, at) ? 4 : 0;
  if (byte === SLASH) return at === 0 && (text === '-x2F' || text === '-x2F-x2F') ? text.length : 0;
  return charEscapeAt(text, at, byte);
}

/** `-x2D` counts only where the hyphen that it stands for would otherwise read as an escape. */
function isEscapedHyphen(text: string, at: number): boolean {
  let rest = at + 4;
  while (text.startsWith('x2D', rest)) rest += 3;
  const following = `-${text.slice(rest, rest + 16)}`;
  const byte = escapedByte(following, 0);
  if (byte < 0) return false;
  if (byte !== SLASH) return charEscapeAt(following, 0, byte) > 0;
  return at === 0 && (text.length === rest + 3 || (text.length === rest + 7 && text.endsWith('-x2F')));
}

/** An escape of one whole character that topic names cannot hold. */
function charEscapeAt(text: string, at: number, lead: number): number {
  if (lead === 0) return 0;
  if (lead < 0x80) return isKept(lead) ? 0 : 4;
  const bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
  if (bytes === 0) return 0;
  const utf8 = Buffer.alloc(bytes, lead);
  for (let i = 1; i < bytes; i++) {
    const byte = escapedByte(text, at + 4 * i);
    if (byte < 0x80) return 0;
    utf8[i] = byte;
  }
  // Overlong forms, surrogates and bad continuations become U+FFFD, so they do not read back as themselves.
  return Buffer.from(utf8.toString()).equals(utf8) ? 4 * bytes : 0;
}

/** Letters, digits and `_`; the dot is none, because names use it for `/`. */
function isKept(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a) || byte === 0x5f;
}

/** The byte that `-xHH` at this place names, or -1 where there is none. */
function escapedByte(text: string, at: number): number {
  if (text.charCodeAt(at) !== HYPHEN || text.charCodeAt(at + 1) !== LETTER_X) return -1;
  const high = hexDigit(text.charCodeAt(at + 2));
  const low = hexDigit(text.charCodeAt(at + 3));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  return code >= 0x41 && code <= 0x46 ? code - 0x37 : -1;
}

/** Whether `address` is the one that `topic` stands for: asked for every record, so without making a string. */
export function isAddressOf(topic: string, address: string): boolean {
  if (topic.length !== address.length) return topic.includes('-x') && addressFromKafka(topic) === address;
  for (let i = 0; i < topic.length; i++) {
    const code = topic.charCodeAt(i);
    if (code !== address.charCodeAt(i) && !(code === DOT && address.charCodeAt(i) === SLASH)) return false;
    if (code === DOT && address.charCodeAt(i) === DOT) return false;
  }
  return !topic.includes('-x') || addressFromKafka(topic) === address;
}

/** Before an address in a `reply-to` header for which there is no topic name that leads back. */
const ADDRESS_SCHEME = 'address:';

/** What a `reply-to` header says to whoever answers with a record: the topic of that address. */
export function kafkaReplyToFromAddress(address: string): string {
  if (address === '' || address.includes('\u0000')) return ADDRESS_SCHEME + address;
  const name = kafkaFromAddress(address);
  return isDigestName(name) ? ADDRESS_SCHEME + address : name;
}

/** The address that answers to such a header go to. What is no topic name is an address as it stands. */
export function addressFromKafkaReplyTo(replyTo: string): string {
  if (replyTo.startsWith(ADDRESS_SCHEME)) return replyTo.slice(ADDRESS_SCHEME.length);
  return isTopicName(replyTo) && !isDigestName(replyTo) ? addressFromKafka(replyTo) : replyTo;
}
