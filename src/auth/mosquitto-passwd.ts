/**
 * Password files as `mosquitto_passwd` writes them: `name:hash` on each line, `#` before what is no user. Called at the
 * start and again whenever the file has changed (`user-file.ts`). Source: mosquitto_passwd(1), mosquitto.conf(5),
 * option password_file.
 */

import { isName } from './identity-name.ts';
import { type PasswordHash, passwordHashFromText } from './password-hash.ts';

export interface FileUser {
  readonly name: string;
  readonly text: string;
  readonly hash: PasswordHash;
}

/** Throws Error with file, line and what is wrong; no hash is in its text. */
export function usersFromPasswordFile(text: string, file: string, usersMax: number): FileUser[] {
  const users = new Map<string, FileUser>();
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    try {
      const colon = line.indexOf(':');
      if (colon < 0) throw new Error('has no colon between name and hash');
      const name = line.slice(0, colon);
      if (!isName(name)) throw new Error('has no name, or one with control characters');
      // A file of two minds would let in one or the other by chance.
      if (users.has(name)) throw new Error(`names ${name} a second time`);
      if (users.size >= usersMax) throw new Error(`is beyond ${usersMax} users (auth.passwords.usersMax)`);
      const hash = line.slice(colon + 1);
      users.set(name, { name, text: hash, hash: passwordHashFromText(hash) });
    } catch (error) {
      throw new Error(`${file}:${index + 1}: the line ${(error as Error).message}`);
    }
  }
  return [...users.values()];
}
