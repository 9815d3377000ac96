/**
 * How a shared subscription chooses among the members that have room. Pure; asked by `shared.ts` for each message, so
 * each choice costs the same however many members there are.
 */

export type SharingStrategy =
  /** Each in turn. */
  | 'round-robin'
  | 'random'
  /** The same one as long as it has room. */
  | 'sticky'
  /** One with the fewest unsettled messages, of some that are looked at. */
  | 'least-loaded'
  /** The same one for all messages of a publisher, while members and their room stay. */
  | 'hash-publisher'
  /** The same one for all messages of an address, while members and their room stay. */
  | 'hash-address';

/** Members looked at to find the least loaded. */
const LOOKED_AT_MAX = 16;

/** The one with the least load of up to 16 from place `from` on. `members` is not empty. */
export function chooseLeastLoaded<T>(
  members: readonly T[],
  from: number,
  loadOf: (member: T) => number,
): T | null {
  const count = members.length;
  let found: T | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < Math.min(count, LOOKED_AT_MAX); i++) {
    const member = members[(from + i) % count] as T;
    const load = loadOf(member);
    if (load >= least) continue;
    found = member;
    least = load;
  }
  return found;
}

/** FNV-1a over UTF-16 units: spreads names evenly, the same in every process. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}
