/**
 * Reads Kafka's primitive types from one request, or from one response in tests. Every length and count is held
 * against the bytes that are left before anything is made of it, so that no input costs more than a small multiple
 * of its own size. Whatever is wrong throws `MalformedRequest`, on which the connection closes. Used by the
 * decoders of `compile.ts` and by the hand-written one of Produce.
 *
 * | type                      | before flexible versions         | in flexible versions (KIP-482)             |
 * |---------------------------|----------------------------------|--------------------------------------------|
 * | bool, int8, int16, int32, int64 | 1, 1, 2, 4, 8 bytes, big-endian | the same                             |
 * | string                    | int16 length, -1 is null, UTF-8  | uvarint length + 1, 0 is null, UTF-8       |
 * | bytes, records            | int32 length, -1 is null         | uvarint length + 1, 0 is null              |
 * | array                     | int32 count, -1 is null          | uvarint count + 1, 0 is null               |
 * | uuid                      | 16 bytes                         | the same                                   |
 * | struct that may be null   | int8, -1 is null, then fields    | the same                                   |
 * | end of a struct           | nothing                          | uvarint count of tagged fields; for each uvarint tag, uvarint size, content |
 */

/** The peer does not speak the protocol, or lies about a length. */
export class MalformedRequest extends Error {
  constructor(explanation: string) {
    super(explanation);
    this.name = 'MalformedRequest';
  }
}

export class Reader {
  readonly buffer: Buffer;
  at: number;
  readonly end: number;
  /** Array elements that may still be read: small ones cost far more memory than bytes. */
  elementsLeft: number;

  constructor(buffer: Buffer, at = 0, end = buffer.length, elementsMax = Number.POSITIVE_INFINITY) {
    this.buffer = buffer;
    this.at = at;
    this.end = end;
    this.elementsLeft = elementsMax;
  }

  get left(): number {
    return this.end - this.at;
  }

  int8(): number {
    return this.buffer.readInt8(this.take(1));
  }

  bool(): boolean {
    return this.buffer[this.take(1)] !== 0;
  }

  int16(): number {
    return this.buffer.readInt16BE(this.take(2));
  }

  uint16(): number {
    return this.buffer.readUInt16BE(this.take(2));
  }

  int32(): number {
    return this.buffer.readInt32BE(this.take(4));
  }

  int64(): number {
    const at = this.take(8);
    return this.buffer.readInt32BE(at) * 0x1_0000_0000 + this.buffer.readUInt32BE(at + 4);
  }

  uuid(): string {
    const at = this.take(16);
    return this.buffer.toString('hex', at, at + 16);
  }

  /** At most five bytes; more than 32 bits are refused. */
  uvarint(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.buffer[this.take(1)] as number;
      if (shift === 28 && byte > 0x0f) throw new MalformedRequest('a variable-length number is too long');
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  string(flexible: boolean, nullable: boolean): string | null {
    const length = flexible ? this.uvarint() - 1 : this.int16();
    if (length < 0) return this.#nothing(length, nullable, 'string');
    const at = this.take(length);
    return this.buffer.toString('utf8', at, at + length);
  }

  /** A view, not a copy. */
  bytes(flexible: boolean, nullable: boolean): Buffer | null {
    const length = flexible ? this.uvarint() - 1 : this.int32();
    if (length < 0) return this.#nothing(length, nullable, 'byte string');
    const at = this.take(length);
    return this.buffer.subarray(at, at + length);
  }

  /** How many elements follow, or -1 for null. `elementBytesMin`: fewer bytes no element can have. */
  count(flexible: boolean, nullable: boolean, elementBytesMin: number): number {
    const count = flexible ? this.uvarint() - 1 : this.int32();
    if (count < 0) {
      this.#nothing(count, nullable, 'array');
      return -1;
    }
    if (count * Math.max(1, elementBytesMin) > this.left) {
      throw new MalformedRequest(`an array of ${count} elements does not fit what is left of the request`);
    }
    this.elementsLeft -= count;
    if (this.elementsLeft < 0) throw new MalformedRequest('it holds too many elements (requestElementsMax)');
    return count;
  }

  /** Moves past `count` bytes and returns where they begin. */
  take(count: number): number {
    const at = this.at;
    if (count > this.end - at) throw new MalformedRequest('the request is cut off');
    this.at = at + count;
    return at;
  }

  /** Moves past the tagged fields of a struct without looking at them. */
  skipTags(): void {
    for (let left = this.uvarint(); left > 0; left--) {
      this.uvarint();
      this.take(this.uvarint());
    }
  }

  #nothing(length: number, nullable: boolean, what: string): null {
    if (length !== -1) throw new MalformedRequest(`a ${what} has a negative length`);
    if (!nullable) throw new MalformedRequest(`a ${what} is null where it must not be`);
    return null;
  }
}
