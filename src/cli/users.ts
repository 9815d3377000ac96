/** `rosettamq users`. Passwords are asked for or read from standard input, and never shown. */

import { ApiClient, type ApiFlags } from './api-client.ts';
import { EXIT_WRONG_ARGUMENTS, Failure } from './failure.ts';
import { type Column, type OutputFormat, printList, tellMore } from './output.ts';
import { readPassword } from './password-input.ts';

interface User {
  readonly name: string;
  readonly groups: readonly string[];
  readonly source: string;
}

interface PasswordFlags {
  readonly passwordStdin?: boolean;
}

const COLUMNS: readonly Column<User>[] = [
  { title: 'NAME', text: ({ name }) => name },
  { title: 'GROUPS', text: ({ groups }) => groups.join(',') },
  { title: 'SOURCE', text: ({ source }) => source },
];

export async function listUsers(
  flags: ApiFlags & { readonly output: OutputFormat; readonly limit: number },
): Promise<void> {
  const { items, more } = await new ApiClient(flags).list('/v1/users', flags.limit);
  printList(flags.output, items as User[], COLUMNS);
  tellMore(more, flags.limit);
}

/** Fails where there is one already: a typing error must not take somebody's password away. */
export async function addUser(
  name: string,
  flags: ApiFlags & PasswordFlags & { readonly group?: readonly string[] },
): Promise<void> {
  const client = new ApiClient(flags);
  const password = await readPassword(flags.passwordStdin === true);
  await client.call(
    'PUT',
    pathOfUser(name),
    { password, groups: flags.group ?? [] },
    { 'if-none-match': '*' },
  );
}

export async function changePassword(name: string, flags: ApiFlags & PasswordFlags): Promise<void> {
  const client = new ApiClient(flags);
  const password = await readPassword(flags.passwordStdin === true);
  await changeUser(client, name, { password });
}

export async function changeGroups(name: string, groups: readonly string[], flags: ApiFlags): Promise<void> {
  await changeUser(new ApiClient(flags), name, { groups });
}

/** Only one who is there, and nobody else has changed meanwhile. */
async function changeUser(client: ApiClient, name: string, change: object): Promise<void> {
  const path = pathOfUser(name);
  const user = await client.open('GET', path);
  await user.arrayBuffer();
  await client.call('PUT', path, change, { 'if-match': user.headers.get('etag') ?? '*' });
}

export async function removeUser(name: string, flags: ApiFlags): Promise<void> {
  await new ApiClient(flags).call('DELETE', pathOfUser(name));
}

const pathOfUser = (name: string): string => `/v1/users/${encodeURIComponent(name)}`;

/** 32 MiB and some tens of milliseconds for one guess. */
const HASH_COST_LOG2 = 15;

/** As a password file has it. */
export async function printHash(name: string, flags: PasswordFlags): Promise<void> {
  const { isName } = await import('../auth/identity-name.ts');
  if (!isName(name) || name.includes(':') || name.startsWith('#') || name.trim() !== name) {
    throw new Failure(
      'a name in a password file has no colon, no control characters, no # first and no space around it',
      EXIT_WRONG_ARGUMENTS,
    );
  }
  const password = await readPassword(flags.passwordStdin === true);
  const { PASSWORD_BYTES_MAX, passwordHashOf } = await import('../auth/password-hash.ts');
  const bytes = Buffer.from(password);
  if (bytes.length > PASSWORD_BYTES_MAX) {
    throw new Failure(`a password has at most ${PASSWORD_BYTES_MAX} bytes`, EXIT_WRONG_ARGUMENTS);
  }
  console.log(`${name}:${await passwordHashOf(bytes, HASH_COST_LOG2)}`);
}
