/**
 * Writes Kafka's primitive types into a growing buffer: responses for the server, requests for tests. The layout is
 * the table in `reader.ts`. One writer makes one frame; `frame()` gives the bytes with the length before them.
 */

const FIRST_BYTES = 512;

export class Writer {
  #buffer: Buffer;
  /** Four bytes are kept free in front for the frame's length. */
  #at = 4;

  constructor(bytes = FIRST_BYTES) {
    this.#buffer = Buffer.allocUnsafe(bytes);
  }

  get length(): number {
    return this.#at;
  }

  int8(value: number): void {
    const at = this.#room(1);
    this.#buffer.writeInt8(value, at);
  }

  bool(value: boolean): void {
    const at = this.#room(1);
    this.#buffer[at] = value ? 1 : 0;
  }

  int16(value: number): void {
    const at = this.#room(2);
    this.#buffer.writeInt16BE(value, at);
  }

  uint16(value: number): void {
    const at = this.#room(2);
    this.#buffer.writeUInt16BE(value, at);
  }

  int32(value: number): void {
    const at = this.#room(4);
    this.#buffer.writeInt32BE(value, at);
  }

  int64(value: number): void {
    const at = this.#room(8);
    if (value >= 2 ** 63) {
      this.#buffer.writeBigInt64BE(2n ** 63n - 1n, at);
      return;
    }
    const high = Math.floor(value / 0x1_0000_0000);
    this.#buffer.writeInt32BE(high, at);
    this.#buffer.writeUInt32BE(value - high * 0x1_0000_0000, at + 4);
  }

  uuid(value: string): void {
    const at = this.#room(16);
    this.#buffer.write(value, at, 16, 'hex');
  }

  uvarint(value: number): void {
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.#byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.#byte(rest);
  }

  string(value: string | null, flexible: boolean): void {
    if (value === null) {
      if (flexible) this.uvarint(0);
      else this.int16(-1);
      return;
    }
    let text = value;
    let length = Buffer.byteLength(text);
    // An int16 length holds no more; only explanations for people can be as long.
    if (!flexible && length > 0x7fff) {
      text = Buffer.from(text).subarray(0, 0x7ffc).toString();
      length = Buffer.byteLength(text);
    }
    if (flexible) this.uvarint(length + 1);
    else this.int16(length);
    const at = this.#room(length);
    this.#buffer.write(text, at, length);
  }

  bytes(value: Uint8Array | null, flexible: boolean): void {
    this.bytesLength(value === null ? -1 : value.length, flexible);
    if (value !== null) this.raw(value);
  }

  /** The length of bytes that follow by other means; -1 for null. */
  bytesLength(length: number, flexible: boolean): void {
    if (flexible) this.uvarint(length + 1);
    else this.int32(length);
  }

  /** -1 for null. */
  count(count: number, flexible: boolean): void {
    if (flexible) this.uvarint(count + 1);
    else this.int32(count);
  }

  raw(value: Uint8Array): void {
    const at = this.#room(value.length);
    this.#buffer.set(value, at);
  }

  /** What was written so far, without the place for the length, and the writer begins anew. */
  cut(): Buffer {
    const written = this.#buffer.subarray(4, this.#at);
    this.#buffer = Buffer.allocUnsafe(FIRST_BYTES);
    this.#at = 4;
    return written;
  }

  /** The whole frame. `bytesAfter` are sent behind it and belong to it. */
  frame(bytesAfter = 0): Buffer {
    this.#buffer.writeInt32BE(this.#at - 4 + bytesAfter, 0);
    return this.#buffer.subarray(0, this.#at);
  }

  #byte(value: number): void {
    const at = this.#room(1);
    this.#buffer[at] = value;
  }

  /** May replace the buffer, so it is called before the buffer is named. */
  #room(count: number): number {
    const at = this.#at;
    const end = at + count;
    if (end > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(end, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    this.#at = end;
    return at;
  }
}
