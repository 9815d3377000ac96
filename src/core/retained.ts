/**
 * What addresses remember: the last message that was published with the wish to be retained, for each address.
 * Held in memory as a trie of levels, so that a wildcard finds its matches without looking at the rest, with the places
 * of whole addresses beside it, because most publishers replace what is there; and in a row log, so that it is there
 * again after a restart. Messages are held as the bytes of their rows, and made anew for whoever asks: most are replaced
 * before anybody does. An empty body forgets.
 */

import { Buffer } from 'node:buffer';
import type { Clock } from './clock.ts';
import { type DeliveryOptions, PLAIN_DELIVERY } from './delivery.ts';
import type { Durability } from './durability.ts';
import { CoreError } from './errors.ts';
import type { Retained } from './index.ts';
import type { Limits } from './limits.ts';
import type { Message } from './message.ts';
import { expiryOf, type MessageFormat, type RowFront } from './message-format.ts';
import { MANY, ONE, type Pattern, type Token } from './pattern.ts';
import type { RouteSet } from './router.ts';
import type { RowLog, Storage } from './storage.ts';

export interface RetainedOptions {
  readonly storage: Storage;
  readonly durability: Durability;
  readonly format: MessageFormat;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly readFailed: (error: unknown) => void;
}

/** One for an address while it remembers something. */
class Slot {
  readonly address: string;
  /** Of the row, in the log; -1 while there is none. */
  offset = -1;
  bodyBytes = 0;
  publisherId = '';
  /** How many bytes the row begins with that only address and publisher decide; 0 where nobody has counted. */
  frontBytes = 0;
  #bytes: Buffer = NOTHING;
  #length = 0;

  constructor(address: string) {
    this.address = address;
  }

  get isHeld(): boolean {
    return this.offset >= 0;
  }

  get expiresAtMs(): number {
    return expiryOf(this.#bytes);
  }

  /** A copy: the bytes are written over by the next row. */
  copyRow(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, this.#length));
  }

  /** In bytes of its own: those of a row may be a small part of a piece of memory that it would hold. */
  holdRow(row: Uint8Array): void {
    const { length } = row;
    if (length > this.#bytes.length || 2 * length < this.#bytes.length)
      this.#bytes = Buffer.allocUnsafeSlow(length);
    this.#bytes.set(row);
    this.#length = length;
  }

  /** Nothing is remembered any more. */
  clear(): void {
    this.offset = -1;
    this.bodyBytes = 0;
    this.#bytes = NOTHING;
    this.#length = 0;
  }

  /** What the row begins with; null where only the row says so. */
  get front(): RowFront | null {
    const { address, publisherId, frontBytes } = this;
    if (frontBytes === 0) return null;
    return { options: RETAINED_DELIVERY, address, publisherId, deadlineMs: null, end: frontBytes };
  }
}

interface Node {
  readonly levels: Map<string, Node>;
  slot: Slot | null;
}

const NOTHING = Buffer.alloc(0);
const ROWS_AT_ONCE = 1_000;
const BYTES_AT_ONCE = 4 * 1024 * 1024;
const RETAINED_DELIVERY: DeliveryOptions = { ...PLAIN_DELIVERY, retained: true };

export class RetainedStore implements Retained {
  readonly #options: RetainedOptions;
  readonly #log: RowLog;
  readonly #root: Node = { levels: new Map(), slot: null };
  /** Of all nodes that have one, by their whole address. */
  readonly #slots = new Map<string, Slot>();
  #bytes = 0;

  private constructor(options: RetainedOptions, log: RowLog) {
    this.#options = options;
    this.#log = log;
  }

  static async load(options: RetainedOptions): Promise<RetainedStore> {
    const log = await options.storage.openRowLog('retained', { durable: true });
    const store = new RetainedStore(options, log);
    for (let from = 0; from < log.endOffset; ) {
      const rows = await log.read(from, ROWS_AT_ONCE, BYTES_AT_ONCE);
      if (rows.length === 0) break;
      for (const { offset, bytes } of rows) {
        from = offset + 1;
        try {
          const { address, body } = options.format.decode(bytes).message;
          const known = store.#slots.get(address);
          const slot = known ?? new Slot(address);
          if (known === undefined) store.#place(slot);
          // The log keeps the newest last; an older row of the same address was not removed before the end came.
          store.#put(slot, bytes, offset, body.length);
        } catch (error) {
          // It stays on the disk for a version that can read it.
          options.readFailed(error);
        }
      }
    }
    return store;
  }

  get count(): number {
    return this.#slots.size;
  }

  /**
   * Remembers, or forgets where the body is empty. `routes`: those of the message's address. Throws CoreError
   * `limit-reached` when there is no room.
   */
  set(message: Message, routes: RouteSet): void {
    const { limits, format, durability } = this.#options;
    if (message.body.length === 0) {
      this.forget(message.address);
      return;
    }
    const { body, publisherId } = message;
    const known = this.#slotOf(message.address, routes);
    const { count } = this;
    if (known === null && count >= limits.retainedMessagesMax)
      throw new CoreError('limit-reached', `${count} retained messages already (retainedMessagesMax)`);
    if (this.#bytes + body.length > limits.retainedBytesMax) {
      throw new CoreError(
        'limit-reached',
        `${this.#bytes} bytes of retained messages already (retainedBytesMax)`,
      );
    }
    // Where it cannot be written, the address has not got it.
    const slot = known ?? new Slot(message.address);
    const frontBytes = slot.publisherId === publisherId ? slot.frontBytes : 0;
    const row = format.encode(message, RETAINED_DELIVERY, message.expiresAtMs, frontBytes);
    const { lastFrontBytes } = format;
    const offset = this.#log.append(row);
    if (known === null) this.#place(slot);
    slot.publisherId = publisherId;
    slot.frontBytes = lastFrontBytes;
    this.#put(slot, row, offset, body.length);
    durability.written();
  }

  forget(address: string): boolean {
    const slot = this.#slots.get(address);
    if (slot === undefined) return false;
    this.#drop(slot);
    slot.clear();
    this.#displace(this.#root, address.split('/'), 0);
    this.#slots.delete(address);
    this.#options.durability.written();
    return true;
  }

  get(address: string): Message | undefined {
    const slot = this.#slots.get(address);
    return slot === undefined ? undefined : this.#messageIn(slot);
  }

  *match(pattern: Pattern): Iterable<Message> {
    const nowMs = this.#options.clock.nowMs();
    const { tokens } = pattern;
    // Only with several `MANY` can one place be reached in more than one way; then each is walked once.
    const visited = tokens.filter((token) => token === MANY).length > 1 ? new Map<Node, Set<number>>() : null;
    for (const slot of this.#walk(this.#root, tokens, 0, typeof tokens[0] !== 'string', visited)) {
      const { expiresAtMs } = slot;
      if (expiresAtMs === 0 || expiresAtMs > nowMs) yield this.#messageIn(slot);
    }
  }

  #messageIn(slot: Slot): Message {
    return this.#options.format.decode(slot.copyRow(), slot.front).message;
  }

  /** `hidden`: still at the first level of a pattern that begins with a wildcard, where `$…` is out of sight. */
  *#walk(
    node: Node,
    tokens: readonly Token[],
    at: number,
    hidden: boolean,
    visited: Map<Node, Set<number>> | null,
  ): Iterable<Slot> {
    if (visited !== null) {
      const places = visited.get(node) ?? new Set();
      if (places.has(at)) return;
      visited.set(node, places.add(at));
    }
    if (at === tokens.length) {
      if (node.slot !== null) yield node.slot;
      return;
    }
    const token = tokens[at] as Token;
    if (token === ONE) {
      for (const [level, child] of node.levels) {
        if (!(hidden && level.startsWith('$'))) yield* this.#walk(child, tokens, at + 1, false, visited);
      }
    } else if (token === MANY) {
      yield* this.#walk(node, tokens, at + 1, hidden, visited);
      for (const [level, child] of node.levels) {
        if (!(hidden && level.startsWith('$'))) yield* this.#walk(child, tokens, at, false, visited);
      }
    } else {
      const child = hidden && token.startsWith('$') ? undefined : node.levels.get(token);
      if (child !== undefined) yield* this.#walk(child, tokens, at + 1, false, visited);
    }
  }

  /** The address's, if it has one. Where it was before it is found with its routes, which costs less. */
  #slotOf(address: string, routes: RouteSet): Slot | null {
    const last = routes.retainedMemo as Slot | null;
    if (last?.isHeld === true) return last;
    const slot = this.#slots.get(address) ?? null;
    routes.retainedMemo = slot;
    return slot;
  }

  #put(slot: Slot, row: Uint8Array, offset: number, bodyBytes: number): void {
    if (slot.isHeld) this.#drop(slot);
    slot.holdRow(row);
    slot.offset = offset;
    slot.bodyBytes = bodyBytes;
    this.#bytes += bodyBytes;
  }

  #drop(slot: Slot): void {
    this.#bytes -= slot.bodyBytes;
    this.#log.remove(slot.offset);
  }

  #place(slot: Slot): void {
    const { address } = slot;
    let node = this.#root;
    for (const level of address.split('/')) {
      let child = node.levels.get(level);
      if (child === undefined) {
        child = { levels: new Map(), slot: null };
        node.levels.set(level, child);
      }
      node = child;
    }
    node.slot = slot;
    this.#slots.set(address, slot);
  }

  /** Returns whether the node is empty now and can go. */
  #displace(node: Node, levels: readonly string[], at: number): boolean {
    if (at === levels.length) node.slot = null;
    else {
      const level = levels[at] as string;
      const child = node.levels.get(level);
      if (child !== undefined && this.#displace(child, levels, at + 1)) node.levels.delete(level);
    }
    return node.slot === null && node.levels.size === 0;
  }
}
