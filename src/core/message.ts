/**
 * The one message of the gateway. An adapter builds it once, the core routes it, and every destination shares
 * the same immutable object. Properties of the source protocol travel in `native` as its own encoded bytes and
 * are decoded only when another protocol asks (`properties`), so the same protocol in and out is byte-faithful
 * and pays nothing for translation.
 */

import { isPartOfMore, KeptBytes } from './kept-bytes.ts';

/** How hard the publisher asked us to try: 0 at most once, 1 at least once (durable), 2 exactly once (durable). */
export type Reliability = 0 | 1 | 2;

/** A typed header value. The kinds are also the codes that text-only protocols use to restore exact types. */
export type HeaderValue =
  | { readonly kind: 'string' | 'symbol' | 'uuid' | 'char'; readonly value: string }
  /** `forText`: they stood where the source has text, and were none. */
  | { readonly kind: 'bytes'; readonly value: Uint8Array; readonly forText?: boolean }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'i8' | 'u8' | 'i16' | 'u16' | 'i32' | 'u32' | 'f32' | 'f64'; readonly value: number }
  | { readonly kind: 'i64' | 'u64'; readonly value: bigint }
  /** `value` × 10^-scale. */
  | { readonly kind: 'decimal'; readonly scale: number; readonly value: bigint }
  /** Milliseconds since 1970. `seconds`: the source could only say whole seconds. */
  | { readonly kind: 'timestamp'; readonly value: number; readonly seconds?: boolean }
  | { readonly kind: 'null' }
  | { readonly kind: 'list'; readonly value: readonly HeaderValue[] }
  | { readonly kind: 'map'; readonly value: readonly Header[] };

const keptParts = new KeptBytes();

export interface Header {
  readonly name: string;
  readonly value: HeaderValue;
}

/** What a message says about itself beside its body, in no protocol's own shape. Absent means: was not said. */
export interface Properties {
  readonly contentType?: string;
  readonly contentEncoding?: string;
  /** The body is UTF-8 text, as the publisher says. */
  readonly textBody?: boolean;
  /** How the source divided its body, in its mapping's words; absent where it is one piece of bytes. */
  readonly bodyForm?: string;
  readonly correlation?: HeaderValue;
  /** The address that an answer goes to. */
  readonly replyTo?: string;
  readonly messageId?: HeaderValue;
  /** When the publisher says that it made the message, milliseconds since 1970. */
  readonly timestampMs?: number;
  readonly type?: string;
  readonly subject?: string;
  readonly userId?: string;
  readonly appId?: string;
  readonly groupId?: string;
  readonly groupSequence?: number;
  readonly replyToGroupId?: string;
  /** In the publisher's order, names may repeat. */
  readonly headers: readonly Header[];
}

/** Reads one protocol's encoded properties. Registered by name, so that a stored message finds it again. */
export interface NativeCodec {
  /** Unique, at most 32 ASCII characters: written to disk beside the bytes. */
  readonly name: string;
  decode(bytes: Uint8Array): Properties;
}

export interface MessageFields {
  readonly address: string;
  readonly body: Uint8Array;
  readonly reliability?: Reliability;
  /** The publisher asks that the address remembers this message. */
  readonly retain?: boolean;
  /** The source said "no body", which some protocols tell apart from an empty one. */
  readonly nullBody?: boolean;
  /** 0 to 255, 0 is the lowest and the default. */
  readonly priority?: number;
  /** Milliseconds since 1970 after which it must not be delivered; 0 is never. */
  readonly expiresAtMs?: number;
  /** Milliseconds since 1970 of arrival, or of creation where the source says so for each record. */
  readonly timestampMs?: number;
  readonly key?: Uint8Array | null;
  /** The client that published, compared where a subscriber asks not to hear itself. */
  readonly publisherId?: string;
  /** The publisher might itself publish at the reply address, so whoever answers may too. */
  readonly replyLent?: boolean;
  readonly codec?: NativeCodec | null;
  /** Encoded properties that `codec` reads. */
  readonly native?: Uint8Array | null;
  /** Given instead of `codec` and `native` where the source has no encoded form. */
  readonly properties?: Properties;
}

export const EMPTY_PROPERTIES: Properties = Object.freeze({ headers: Object.freeze([]) });

const EMPTY = new Uint8Array(0);

export class Message {
  readonly address: string;
  readonly body: Uint8Array;
  readonly reliability: Reliability;
  readonly retain: boolean;
  readonly nullBody: boolean;
  readonly priority: number;
  readonly expiresAtMs: number;
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly publisherId: string;
  readonly replyLent: boolean;
  readonly codec: NativeCodec | null;
  readonly native: Uint8Array | null;
  #properties: Properties | null;
  /** What adapters made of this message, indexed by the number that `viewSlot` gave them. */
  #views: unknown[] | null = null;
  #kept: Message | null = null;

  constructor(fields: MessageFields) {
    this.address = fields.address;
    this.body = fields.body;
    this.reliability = fields.reliability ?? 0;
    this.retain = fields.retain ?? false;
    this.nullBody = fields.nullBody ?? false;
    this.priority = fields.priority ?? 0;
    this.expiresAtMs = fields.expiresAtMs ?? 0;
    this.timestampMs = fields.timestampMs ?? 0;
    this.key = fields.key ?? null;
    this.publisherId = fields.publisherId ?? '';
    this.replyLent = fields.replyLent ?? false;
    this.codec = fields.codec ?? null;
    this.native = fields.native ?? null;
    this.#properties = fields.properties ?? (this.codec === null ? EMPTY_PROPERTIES : null);
  }

  /** Must survive a restart once it was acknowledged. */
  get durable(): boolean {
    return this.reliability !== 0;
  }

  /** Decoded on first use and kept. */
  get properties(): Properties {
    this.#properties ??= this.codec === null ? EMPTY_PROPERTIES : this.codec.decode(this.native ?? EMPTY);
    return this.#properties;
  }

  /** What one adapter cached for this message, or undefined. */
  view(slot: number): unknown {
    return this.#views === null ? undefined : this.#views[slot];
  }

  setView(slot: number, view: unknown): void {
    this.#views ??= [];
    this.#views[slot] = view;
  }

  /**
   * A message that is kept beyond its turn: body, key and native properties hold little more memory than they take, so
   * not the whole chunk that the socket read. Itself where that is so already.
   */
  kept(): Message {
    if (this.#kept !== null) return this.#kept;
    const body = this.#keep(this.body);
    const key = this.key === null ? null : this.#keep(this.key);
    const native = this.native === null ? null : this.#keep(this.native);
    if (body === this.body && key === this.key && native === this.native) this.#kept = this;
    else {
      this.#kept = new Message({ ...this.#fields(), body, key, native });
      this.#kept.#kept = this.#kept;
    }
    return this.#kept;
  }

  #keep(part: Uint8Array): Uint8Array {
    const { buffer } = part;
    const used = bytesIn(buffer, this.body) + bytesIn(buffer, this.key) + bytesIn(buffer, this.native);
    return isPartOfMore(part, used) ? keptParts.copy(part) : part;
  }

  /** The same message with some fields changed; views are not carried over. */
  with(changes: Partial<MessageFields>): Message {
    if (changes.properties !== undefined) {
      return new Message({ ...this.#fields(), ...changes, codec: null, native: null });
    }
    return new Message({ ...this.#fields(), ...changes });
  }

  #fields(): MessageFields {
    const fields: MessageFields = {
      address: this.address,
      body: this.body,
      reliability: this.reliability,
      retain: this.retain,
      nullBody: this.nullBody,
      priority: this.priority,
      expiresAtMs: this.expiresAtMs,
      timestampMs: this.timestampMs,
      key: this.key,
      publisherId: this.publisherId,
      replyLent: this.replyLent,
      codec: this.codec,
      native: this.native,
    };
    return this.codec === null && this.#properties !== null
      ? { ...fields, properties: this.#properties }
      : fields;
  }
}

function bytesIn(buffer: ArrayBufferLike, part: Uint8Array | null): number {
  return part !== null && part.buffer === buffer ? part.length : 0;
}

let nextViewSlot = 0;

/** A number under which one adapter caches its view of messages. Taken once, when a module loads. */
export function viewSlot(): number {
  return nextViewSlot++;
}
