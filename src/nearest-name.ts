/**
 * The known name that a wrong one was probably meant to be, by the number of letters to change. Pure; used for unknown
 * settings, environment variables, flags and fields of definitions.
 */

/** Null where nothing is near. Letter case and underscores do not count. */
export function findNearest(wrong: string, known: Iterable<string>): string | null {
  const plain = (name: string): string => name.toLowerCase().replaceAll('_', '');
  const distanceMax = Math.max(1, Math.floor(plain(wrong).length / 3));
  let nearest: string | null = null;
  let least = distanceMax + 1;
  for (const name of known) {
    const distance = countEdits(plain(wrong), plain(name));
    if (distance < least) {
      least = distance;
      nearest = name;
    }
  }
  return nearest;
}

/** Letters to insert, remove, replace or swap with their neighbour. */
function countEdits(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = last[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      let edits = Math.min(replaced, last[j]! + 1, row[j - 1]! + 1);
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]) {
        edits = Math.min(edits, beforeLast[j - 2]! + 1);
      }
      row.push(edits);
    }
    beforeLast = last;
    last = row;
  }
  return last[to.length]!;
}
