/**
 * What a commit has to put of a stream on the device: one piece of one segment. The journal's frame of that commit names
 * it, since with durability `fsync` all files of a commit are synced at once and a loss of power may leave any of them:
 * a frame whose pieces are not all there was never acknowledged, and is left out (`table/journal-replay.ts`). Made by
 * segments; looked for at opening, before any log is opened, without changing a thing.
 */

import { join } from 'node:path';
import { type FileSystem, syncFolderSync } from '../file-system.ts';
import { fileNameFromOffset, SEGMENT_SUFFIX } from './folder-name.ts';
import { holdsBatches } from './segment-scan.ts';

export interface Extent {
  /** The log's folder, below that of all streams. */
  readonly folder: string;
  /** Of the segment. */
  readonly baseOffset: number;
  /** Positions in the segment's file: what is before `from` was synced by an earlier commit. */
  readonly from: number;
  readonly end: number;
  /** The offset after the last record before `end`. */
  readonly endOffset: number;
}

/** Of a log that was deleted: nothing of it is missed, also where another takes its name. */
export function extentOfNothing(folder: string): Extent {
  return { folder, baseOffset: 0, from: 0, end: 0, endOffset: 0 };
}

/** A segment that is not there says nothing: it was deleted since, or has expired. */
export function isThere(files: FileSystem, streams: string, extent: Extent): boolean {
  const path = pathOf(streams, extent);
  if (extent.from >= extent.end || !files.exists(path)) return true;
  const fd = files.open(path, 'r');
  try {
    return holdsBatches(files, fd, extent);
  } finally {
    files.close(fd);
  }
}

/** Throws the system's error. */
export function syncExtent(files: FileSystem, streams: string, extent: Extent): void {
  const path = pathOf(streams, extent);
  if (extent.from >= extent.end || !files.exists(path)) return;
  const fd = files.open(path, 'r+');
  try {
    files.syncSync(fd);
  } finally {
    files.close(fd);
  }
  syncFolderSync(files, join(streams, extent.folder));
}

function pathOf(streams: string, { folder, baseOffset }: Extent): string {
  return join(streams, folder, fileNameFromOffset(baseOffset, SEGMENT_SUFFIX));
}
