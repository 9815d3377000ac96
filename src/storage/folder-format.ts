/**
 * The file `format` of a data folder: which version of the storage format everything in it has, as one line of text.
 * A folder of another version is refused, so that an older or newer program never misreads it. One of version 1
 * or 2 is raised to 3 when it is opened: they differ in the journal only, which of version 1 has to be empty, as an
 * orderly end leaves it. Called by `index.ts`, which holds the folder's lock.
 */

import { join } from 'node:path';
import { type FileSystem, readWholeFile, replaceFile, syncFolderSync } from './file-system.ts';
import { checkJournalVersion } from './table/journal.ts';

const FORMAT_VERSION = 3;
const RAISED_VERSION_MIN = 1;
const FORMAT_LINE = /^rosettamq storage (\d+)\n$/;

/**
 * Writes the file into a new folder. Throws when the folder holds another version or something foreign, or was not
 * left in good order by the version before.
 */
export function checkFormat(files: FileSystem, folder: string): void {
  const path = join(folder, 'format');
  const bytes = readWholeFile(files, path);
  if (bytes === null) {
    write(files, path);
    return;
  }
  const version = FORMAT_LINE.exec(bytes.toString('latin1'))?.[1];
  if (version === undefined) throw new Error(`${path} is not the format file of a data folder`);
  if (Number(version) === FORMAT_VERSION) return;
  if (Number(version) < RAISED_VERSION_MIN || Number(version) > FORMAT_VERSION) {
    throw new Error(`the data folder has storage format ${version}; this version reads ${FORMAT_VERSION}`);
  }
  checkJournalVersion(files, join(folder, 'journal'));
  write(files, path);
  // Before there is a journal that the version before would take for a torn one.
  syncFolderSync(files, folder);
}

function write(files: FileSystem, path: string): void {
  replaceFile(files, path, Buffer.from(`rosettamq storage ${FORMAT_VERSION}\n`), true);
}
