/**
 * What a session keeps of packet identifiers, in the core's small state beside it, so that QoS 2 is exactly once
 * across connections and restarts. Source: MQTT 5.0 section 4.1 (session state) and 4.3.3.
 *
 * | key   | value                                | meaning                                                      |
 * |-------|--------------------------------------|--------------------------------------------------------------|
 * | `i5`  | empty                                | a QoS 2 PUBLISH with identifier 5 came, its PUBREL has not   |
 * | `r5`  | u32: order in which they were sent   | PUBREL 5 is sent or due, its PUBCOMP has not come            |
 * | `o77` | u16: packet identifier               | the delivery at offset 77 has this identifier                |
 *
 * A delivery's packet identifier follows from its offset, which is the same after a restart; only where that
 * identifier is still in use another one is taken and noted under `o`.
 */

import type { Session } from '../../../src/core/index.ts';

const NOTHING = new Uint8Array(0);
const PACKET_IDS = 65_535;

/** The packet identifier that the offset of a delivery asks for. Offsets of what is not on disk are negative. */
export function packetIdFromOffset(offset: number): number {
  return (Math.abs(offset) % PACKET_IDS) + 1;
}

export class SessionState {
  readonly #session: Session;
  #releaseOrder = 0;
  /** How many `o` entries there are: almost always none, and then nothing is looked up. */
  #notedCount = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  /**
   * Reads what earlier connections left: identifiers that came and that were released, these in the order of sending
   * and none of them counted. Null where there is none, as nearly always.
   */
  load(): { readonly received: Set<number> | null; readonly released: Map<number, boolean> | null } {
    let received: Set<number> | null = null;
    let released: Map<number, boolean> | null = null;
    if (this.#session.state.size === 0) return { received, released };
    const ordered: [order: number, id: number][] = [];
    this.#notedCount = 0;
    for (const [key, value] of this.#session.state) {
      const id = Number(key.slice(1));
      if (key.startsWith('i')) {
        received ??= new Set();
        received.add(id);
      } else if (key.startsWith('r')) ordered.push([readU32(value), id]);
      else if (key.startsWith('o')) this.#notedCount++;
    }
    ordered.sort(([a], [b]) => a - b);
    for (const [order, id] of ordered) {
      released ??= new Map();
      released.set(id, false);
      this.#releaseOrder = order + 1;
    }
    return { received, released };
  }

  addReceived(id: number): void {
    this.#session.putState(`i${id}`, NOTHING);
  }

  removeReceived(id: number): void {
    this.#session.removeState(`i${id}`);
  }

  addReleased(id: number): void {
    const value = new Uint8Array(4);
    new DataView(value.buffer).setUint32(0, this.#releaseOrder++ >>> 0);
    this.#session.putState(`r${id}`, value);
  }

  removeReleased(id: number): void {
    this.#session.removeState(`r${id}`);
  }

  /** The identifier noted for this offset, 0 where none is. */
  notedId(offset: number): number {
    if (this.#notedCount === 0) return 0;
    const value = this.#session.state.get(`o${offset}`);
    return value === undefined ? 0 : ((value[0] as number) << 8) | (value[1] as number);
  }

  noteId(offset: number, id: number): void {
    const key = `o${offset}`;
    if (!this.#session.state.has(key)) this.#notedCount++;
    this.#session.putState(key, new Uint8Array([id >> 8, id & 0xff]));
  }

  /** Forgets what `noteId` wrote, if it did. */
  forgetId(offset: number): void {
    if (this.#notedCount === 0 || !this.#session.state.has(`o${offset}`)) return;
    this.#session.removeState(`o${offset}`);
    this.#notedCount--;
  }
}

function readU32(value: Uint8Array): number {
  return value.length < 4 ? 0 : new DataView(value.buffer, value.byteOffset, 4).getUint32(0);
}
