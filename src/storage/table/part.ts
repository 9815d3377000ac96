/**
 * How row logs and tables work together with the store that keeps them, without knowing it: each is a `Part`, and
 * sees its store as a `Home`. Life of a change: made in memory → written into a frame → `framed` once the journal has
 * it → `beginMove`, `changesToMove`, `endMove` when a checkpoint puts it into LMDB, or `cancelMove` when it cannot. Rows become
 * older by one journal file with each checkpoint, and the one after moves what is left of them: most rows are removed before.
 */

import type { Change, Database } from './database.ts';
import type { FrameWriter } from './journal-frame.ts';

export interface Part {
  /** Adds everything changed since the last frame that the journal took. */
  writeChanges(frame: FrameWriter): void;
  framed(): void;
  /**
   * Fixes what goes into LMDB: at least what was framed before the last `beginMove`, `everything` also what was since.
   * Called when all is framed.
   */
  beginMove(everything: boolean): void;
  /** May be asked for again after a failure, until `endMove`. */
  changesToMove(): Iterable<Change>;
  /** LMDB has it. */
  endMove(): void;
  /** LMDB has nothing of it, and nothing was asked for: it is moved by a later checkpoint, with what was changed since. */
  cancelMove(): void;
}

export interface Home {
  readonly database: Database;
  /** `part` has something for the next frame. */
  changed(part: Part): void;
  /** `part` has something for the next checkpoint. */
  toMove(part: Part): void;
}

/** What a row log needs of the registry of names. */
export interface RowLogHome extends Home {
  registerRowLog(name: string, id: number, reservedEnd: number): void;
  forgetRowLog(name: string, id: number): void;
}
