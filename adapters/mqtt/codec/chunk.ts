/**
 * The chunk that is being read, by whichever connection: parts of it as views, and comparison with bytes that were
 * remembered. Asking a buffer where its bytes are costs as much as a view of them, so that is asked once for each
 * chunk. Used by `publish.ts`.
 */

const NOTHING = Buffer.alloc(0);
const WORD_BYTES = 8;
/** Of everybody who has nothing to remember. */
const NO_BYTES = new Uint8Array(0);
const NO_WORDS = new BigInt64Array(0);

let chunk: Buffer = NOTHING;
let chunkBytes: ArrayBufferLike = NOTHING.buffer;
let chunkAt = 0;
/** The same bytes for reading words; null until somebody compares them. */
let chunkView: DataView | null = null;

function lookAt(buffer: Buffer): void {
  chunk = buffer;
  chunkBytes = buffer.buffer;
  chunkAt = buffer.byteOffset;
  chunkView = null;
}

/** In place, as `subarray`. */
export function partOf(buffer: Buffer, start: number, end: number): Uint8Array {
  if (buffer !== chunk) lookAt(buffer);
  return new Uint8Array(chunkBytes, chunkAt + start, end - start);
}

/** A copy of some bytes, to find them again. */
export class RememberedBytes {
  /** 0: there are none. */
  length = 0;
  #bytes = NO_BYTES;
  /** The same bytes as numbers, the last eight behind the others, as they need not begin where a word does. */
  #words = NO_WORDS;

  remember(buffer: Buffer, start: number, end: number): void {
    const length = end - start;
    if (length > this.#bytes.length) {
      this.#bytes = new Uint8Array(length);
      this.#words = new BigInt64Array((length >> 3) + 1);
    }
    this.#bytes.set(buffer.subarray(start, end));
    this.length = length;
    if (length < WORD_BYTES) return;
    const view = new DataView(this.#bytes.buffer);
    const count = length >> 3;
    for (let i = 0; i < count; i++) this.#words[i] = view.getBigInt64(i << 3, true);
    this.#words[count] = view.getBigInt64(length - WORD_BYTES, true);
  }

  forget(): void {
    this.length = 0;
  }

  /** Whether they stand in `buffer[start, end)` from `start` on. In words of eight bytes, for which V8 makes no BigInt. */
  standAt(buffer: Buffer, start: number, end: number): boolean {
    const { length } = this;
    if (length === 0 || end - start < length) return false;
    if (buffer !== chunk) lookAt(buffer);
    chunkView ??= new DataView(chunkBytes, chunkAt, buffer.length);
    const view = chunkView;
    if (length < WORD_BYTES) return this.#standBytes(view, start);
    const words = this.#words;
    const count = length >> 3;
    for (let i = 0; i < count; i++) {
      if (view.getBigInt64(start + (i << 3), true) !== words[i]) return false;
    }
    return view.getBigInt64(start + length - WORD_BYTES, true) === words[count];
  }

  #standBytes(view: DataView, start: number): boolean {
    for (let i = 0; i < this.length; i++) if (view.getUint8(start + i) !== this.#bytes[i]) return false;
    return true;
  }
}
