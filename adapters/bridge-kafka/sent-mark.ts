/**
 * What an outside Kafka remembers of a bridge that delivers exactly once: the offset of the last message of the bridge that it has,
 * committed for a consumer group in the same transaction as the records themselves. The offset stands at partition 0 of topics of
 * that transaction, and the largest that is found counts. Messages that were refused for good on the way are named in the commit's
 * text, because they still have to be told to the bridge after a crash. Pure.
 */

/** Brokers refuse a longer text (`offset.metadata.max.bytes` is 4096 by default). */
const TEXT_CHARS_MAX = 3_500;
const PREFIX = 'refused:';

export interface SentMark {
  /** The last offset that is there, or was refused. */
  readonly offset: number;
  /** Those at or before it that are not there, in their order. */
  readonly refused: readonly number[];
}

/** The text of a commit; the oldest are left out where there is no room. */
export function textOfRefused(refused: readonly number[]): string {
  let text = '';
  for (let at = refused.length - 1; at >= 0; at--) {
    const longer = text === '' ? String(refused[at]) : `${refused[at]},${text}`;
    if (longer.length > TEXT_CHARS_MAX) break;
    text = longer;
  }
  return text === '' ? '' : PREFIX + text;
}

export interface Commit {
  readonly offset: bigint;
  readonly text: string | null | undefined;
}

/** Of all commits of the group. Null where there is none. */
export function markFrom(commits: Iterable<Commit>): SentMark | null {
  let last: Commit | null = null;
  for (const commit of commits)
    if (commit.offset >= 0n && (last === null || commit.offset > last.offset)) last = commit;
  if (last === null) return null;
  const text = last.text ?? '';
  const refused = text.startsWith(PREFIX) ? text.slice(PREFIX.length).split(',').map(Number) : [];
  return { offset: Number(last.offset), refused: refused.filter(Number.isSafeInteger) };
}

/** What the bridge may forget without asking: everything before the first that was refused. */
export function forgettableOffset({ offset, refused }: SentMark): number | null {
  const last = refused.length === 0 ? offset : Math.min(offset, ...refused.map((each) => each - 1));
  return last < 0 ? null : last;
}

/** Whether this message must not be sent, because it is there. */
export function isThere(mark: SentMark | null, offset: number): boolean {
  return mark !== null && offset <= mark.offset && !mark.refused.includes(offset);
}
