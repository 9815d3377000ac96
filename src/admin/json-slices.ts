/**
 * A JSON body of megabytes read in slices, with other work between them: `{"mappings": {"a": {…}, "b": {…}}}` with ten
 * thousand rules would hold up messages for tens of milliseconds as one call of `JSON.parse`. Finds where the members of
 * the body, and of their members, begin and end, and has each of those parsed by itself; it judges nothing but the few
 * bytes between them. Called by `server.ts`, which has the body parsed as a whole wherever this gives up, so that every
 * body means what it would have meant, and every error reads the same.
 */

import type { Buffer } from 'node:buffer';

/** Smaller bodies are parsed as a whole before anybody could notice. */
export const SLICED_FROM_BYTES = 128 * 1024;

/** Bytes looked at before other work has its turn. */
const SLICE_BYTES = 32 * 1024;
/** Names that mean more than a name to JavaScript; what becomes of them is the parser's to say. */
const SPECIAL_NAMES: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** The first byte of it; no value begins with that. */
const BYTE_ORDER_MARK = 0xef;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;

/** `parse` throws where a text is no JSON. Null: to be parsed as a whole. */
export async function parseInSlices(
  body: Buffer,
  parse: (text: string) => unknown,
): Promise<Record<string, unknown> | null> {
  const slices = objectInSlices(new Members(body, parse), 1);
  try {
    for (;;) {
      const step = slices.next();
      if (step.done === true) return step.value;
      await new Promise((resolve) => setImmediate(resolve));
    }
  } catch {
    return null;
  }
}

/** Yields after each slice. Objects are taken apart down to `depth` levels below this one. */
function* objectInSlices(members: Members, depth: number): Generator<void, Record<string, unknown>> {
  const object: Record<string, unknown> = {};
  members.expect(OPEN_OBJECT);
  if (!members.takes(CLOSE_OBJECT)) {
    do {
      const name = members.name();
      members.expect(COLON);
      const isObject = depth > 0 && members.isAt(OPEN_OBJECT);
      // A name that comes again has the last of its values, in the place of the first.
      object[name] = isObject ? yield* objectInSlices(members, depth - 1) : members.value();
      if (members.isSliceOver()) yield;
    } while (members.takes(COMMA));
    members.expect(CLOSE_OBJECT);
  }
  if (depth === 1) members.expectEnd();
  return object;
}

class GivenUp extends Error {}

/** Walks over the members of an object. Every method begins after whitespace and throws where it cannot go on. */
class Members {
  readonly #bytes: Buffer;
  readonly #parse: (text: string) => unknown;
  #at = 0;
  #sliceAt = 0;

  constructor(bytes: Buffer, parse: (text: string) => unknown) {
    this.#bytes = bytes;
    this.#parse = parse;
  }

  isSliceOver(): boolean {
    if (this.#at - this.#sliceAt < SLICE_BYTES) return false;
    this.#sliceAt = this.#at;
    return true;
  }

  /** What stands here, undefined behind the end; whitespace before it is passed over. */
  #next(): number | undefined {
    for (;;) {
      const here = this.#bytes[this.#at];
      if (here !== 0x20 && here !== 0x0a && here !== 0x0d && here !== 0x09) return here;
      this.#at++;
    }
  }

  isAt(byte: number): boolean {
    return this.#next() === byte;
  }

  takes(byte: number): boolean {
    if (!this.isAt(byte)) return false;
    this.#at++;
    return true;
  }

  expect(byte: number): void {
    if (!this.takes(byte)) throw new GivenUp();
  }

  expectEnd(): void {
    if (this.#next() !== undefined) throw new GivenUp();
  }

  name(): string {
    if (!this.isAt(QUOTE)) throw new GivenUp();
    const name = this.#take(this.#endOfText(this.#at));
    if (typeof name !== 'string' || SPECIAL_NAMES.has(name)) throw new GivenUp();
    return name;
  }

  value(): unknown {
    if (this.isAt(QUOTE)) return this.#take(this.#endOfText(this.#at));
    return this.#take(this.#endOfValue());
  }

  #take(end: number): unknown {
    // A byte order mark is passed over by the parser where its text begins, and refused inside of the whole.
    if (this.#bytes[this.#at] === BYTE_ORDER_MARK) throw new GivenUp();
    const text = this.#bytes.toString('utf8', this.#at, end);
    this.#at = end;
    return this.#parse(text);
  }

  /** The index behind the text whose first quote is at `start`. */
  #endOfText(start: number): number {
    const bytes = this.#bytes;
    for (let at = start + 1; at < bytes.length; at++) {
      const byte = bytes[at];
      if (byte === QUOTE) return at + 1;
      if (byte === BACKSLASH) at++;
    }
    throw new GivenUp();
  }

  /** The index behind a value that is no text: where its brackets are closed, or what stands behind it begins. */
  #endOfValue(): number {
    const bytes = this.#bytes;
    let open = 0;
    for (let at = this.#at; at < bytes.length; at++) {
      const byte = bytes[at];
      if (byte === QUOTE) at = this.#endOfText(at) - 1;
      else if (byte === OPEN_OBJECT || byte === OPEN_LIST) open++;
      else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) {
        if (open === 0) return at;
        if (--open === 0) return at + 1;
      } else if (byte === COMMA && open === 0) return at;
    }
    throw new GivenUp();
  }
}
