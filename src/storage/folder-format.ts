/**
 * The file `format` of a data folder: which version of the storage format everything in it has, as one line of text.
 * A folder of another version is refused, so that an older or newer program never misreads it. Called by `index.ts`,
 * which holds the folder's lock.
 */

import { join } from 'node:path';
import { type FileSystem, readWholeFile, replaceFile } from './file-system.ts';

const FORMAT_VERSION = 3;
const FORMAT_LINE = /^rosettamq storage (\d+)\n$/;

/** Writes the file into a new folder. Throws when the folder holds another version or something foreign. */
export function checkFormat(files: FileSystem, folder: string): void {
  const path = join(folder, 'format');
  const bytes = readWholeFile(files, path);
  if (bytes === null) {
    replaceFile(files, path, Buffer.from(`rosettamq storage ${FORMAT_VERSION}\n`), true);
    return;
  }
  const version = FORMAT_LINE.exec(bytes.toString('latin1'))?.[1];
  if (version === undefined) throw new Error(`${path} is not the format file of a data folder`);
  if (Number(version) !== FORMAT_VERSION)
    throw new Error(`the data folder has storage format ${version}; this version reads ${FORMAT_VERSION}`);
}
