/**
 * The folder of a log, from the log's name. Lower-case letters, digits, `_`, `-` and `.` stand for themselves, every
 * other byte of the UTF-8 name is `%xx`; so two names never share a folder, also where the file system does not tell
 * upper from lower case, and no name reaches outside its parent. A name that becomes too long for a folder ends in
 * `~` and its SHA-256; `~` is otherwise escaped. Called when a batch log is opened. And the names of the files in it.
 */

import { createHash } from 'node:crypto';

export const SEGMENT_SUFFIX = '.log';
export const INDEX_SUFFIX = '.index';
const OFFSET_DIGITS = 20;

/** File systems take 255 bytes; the rest is room for suffixes. */
const FOLDER_NAME_BYTES_MAX = 200;
const HASH_CHARACTERS = 64;

export function fileNameFromOffset(offset: number, suffix: string): string {
  return String(offset).padStart(OFFSET_DIGITS, '0') + suffix;
}

export function folderFromLogName(name: string): string {
  let folder = '';
  for (const byte of Buffer.from(name, 'utf8')) {
    const character = String.fromCharCode(byte);
    const plain = folder === '' ? /[a-z0-9_]/ : /[a-z0-9_.-]/;
    folder += plain.test(character) ? character : `%${byte.toString(16).padStart(2, '0')}`;
  }
  if (folder === '') return '%';
  if (folder.length <= FOLDER_NAME_BYTES_MAX) return folder;
  const hash = createHash('sha256').update(name, 'utf8').digest('hex');
  return `${folder.slice(0, FOLDER_NAME_BYTES_MAX - HASH_CHARACTERS - 1)}~${hash}`;
}
