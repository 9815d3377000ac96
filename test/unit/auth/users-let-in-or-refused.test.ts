/** Users with passwords: who is let in, what a change ends, how guessing is bounded, and what is never shown. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type * as hashes from '../../../src/auth/password-hash.ts';
import type { Principal } from '../../../src/core/index.ts';
import { originWith } from '../auth-proofs/proof-world.ts';
import { openAuthWorld } from './auth-world.ts';

const isPassword = vi.hoisted(() => ({ calls: 0, kinds: [] as string[] }));
vi.mock('../../../src/auth/password-hash.ts', async (original) => {
  const real = await original<typeof hashes>();
  return {
    ...real,
    isPassword: (...args: Parameters<typeof real.isPassword>) => {
      isPassword.calls++;
      isPassword.kinds.push(args[0].kind);
      return real.isPassword(...args);
    },
  };
});

/** Written by mosquitto_passwd, and one by the argon2 command: the password is "geheim" (Argon2: "password"). */
const SHA512 =
  '$6$8dUb6oy8UcHFpHJc$qYWeg6yLLdXqZK4LvJiLmQHDyNmY+iWGRsbWoVxRZcB+DA8YOefnnTdDULP3zGHhUCAu+L0zYycTE/yBJGyiIw==';
const PBKDF2 =
  '$7$101$5mQGAqCU/lRWJoGE$IsU23PGBfAbkfSLyEWbWzrk4ChedOvWeZYzg5DdZ9VyHSaYy0bpjiCYm4vW6BInELB3HZTDbSSGJSe1sCfY8jQ==';
/** A vector of the reference implementation: password "password", salt "somesalt". */
const ARGON2ID = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc';
/** RFC 7914 12, cut to 64 bytes: password "password", salt "NaCl". */
const SCRYPT =
  '$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA';

const LOOPBACK = originWith({ remoteAddress: '127.0.0.1' });
const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function writeFile(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'rosettamq-users-'));
  folders.push(folder);
  writeFileSync(join(folder, 'passwords'), text);
  return join(folder, 'passwords');
}

describe('a hash', () => {
  it.each([
    ['SHA-512', SHA512, 'geheim'],
    ['PBKDF2', PBKDF2, 'geheim'],
    ['Argon2id', ARGON2ID, 'password'],
    ['scrypt', SCRYPT, 'password'],
  ])('of %s lets in its password and no other', async (_kind, password, right) => {
    const world = await openAuthWorld({ users: [{ name: 'bob', password, groups: ['staff'] }] });
    expect(await world.login('bob', right)).toEqual({ user: 'bob', groups: ['staff'], clientId: 'client-1' });
    expect(await world.login('bob', `${right}x`)).toBe(null);
    expect(await world.login('bob', '')).toBe(null);
    expect(await world.login('bo', right)).toBe(null);
  });

  it.each([
    '',
    'geheim',
    '$5$a$b',
    '$6$8dUb6oy8UcHFpHJc$AAAA',
    PBKDF2.replace('101', '0'),
    PBKDF2.replace('101', '999999999'),
    ARGON2ID.replace('65536', '99999999'),
    ARGON2ID.replace('v=19', 'v=16'),
    SCRYPT.replace('ln=10', 'ln=24'),
    `${SHA512}$`,
  ])('%j is none, and not in the message', async (password) => {
    const error = await openAuthWorld({ users: [{ name: 'bob', password }] }).then(
      () => null,
      (thrown: Error) => thrown,
    );
    expect(error?.message).toContain('auth.users[0]: bob ');
    if (password.length > 10) expect(error?.message).not.toContain(password.slice(-10));
  });
});

describe('from the first user on', () => {
  it('loopback proves itself like everybody, and who came in before is not current any more', async () => {
    const { authenticator, users } = await openAuthWorld();
    let changes = 0;
    authenticator.onChange(() => changes++);
    const anybody = { kind: 'password', user: 'ann', password: Buffer.from('any') } as const;
    const before = await authenticator.authenticate(anybody, LOOPBACK);
    expect(authenticator.isCurrent(before as Principal)).toBe(true);
    await users.put('ann', { password: 'secret' });
    expect(changes).toBe(1);
    expect(authenticator.isCurrent(before as Principal)).toBe(false);
    expect(await authenticator.authenticate(anybody, LOOPBACK)).toBe(null);
    expect(await authenticator.authenticate({ kind: 'anonymous' }, LOOPBACK)).toBe(null);
  });

  it('nobody comes in as nobody, where the setting says so', async () => {
    const { authenticator, users } = await openAuthWorld({ anonymous: true });
    await users.put('ann', { password: 'secret' });
    const nobody = await authenticator.authenticate({ kind: 'anonymous' }, originWith());
    expect(nobody).toEqual({ user: '', groups: [], clientId: 'client-1' });
    expect(authenticator.isCurrent(nobody as Principal)).toBe(true);
  });
});

describe('when the last user has gone', () => {
  const anybody = { kind: 'password', user: 'ann', password: Buffer.from('any') } as const;

  it('nobody is let in, also after a restart, until the setting says so', async () => {
    const { authenticator, users, storage, log } = await openAuthWorld();
    expect(authenticator.trusting).toBe(true);
    await users.put('ann', { password: 'secret' });
    expect(log.lines).toEqual([]);
    await users.remove('ann');
    expect(log.lines.join()).toContain('there is no user any more');
    expect(authenticator.trusting).toBe(false);
    expect(await authenticator.authenticate(anybody, LOOPBACK)).toBe(null);
    const again = await openAuthWorld({}, storage);
    expect(again.authenticator.trusting).toBe(false);
    expect(await again.authenticator.authenticate(anybody, LOOPBACK)).toBe(null);
    const open = await openAuthWorld({ trustAfterLastUser: true }, storage);
    expect(await open.authenticator.authenticate(anybody, LOOPBACK)).toMatchObject({ user: 'ann' });
  });

  it('nobody comes in as nobody, where that setting says so', async () => {
    const { authenticator, users } = await openAuthWorld({ anonymous: true });
    const nobody = (await authenticator.authenticate({ kind: 'anonymous' }, LOOPBACK)) as Principal;
    await users.put('ann', { password: 'secret' });
    // It would be let in now as it was then.
    expect(authenticator.isCurrent(nobody)).toBe(true);
    await users.remove('ann');
    expect(authenticator.isCurrent(nobody)).toBe(true);
    expect(await authenticator.authenticate({ kind: 'anonymous' }, LOOPBACK)).toEqual(nobody);
    expect(await authenticator.authenticate(anybody, LOOPBACK)).toBe(null);
  });
});

describe('a name that nobody has', () => {
  it('costs what names of users cost, each time the same', async () => {
    const { users, login } = await openAuthWorld({
      users: [
        { name: 'ann', password: SHA512 },
        { name: 'bob', password: PBKDF2 },
      ],
    });
    const kindsOf = async (names: readonly string[]): Promise<string[]> => {
      isPassword.kinds = [];
      for (const [i, name] of names.entries()) {
        expect(await login(name, 'guess', { remoteAddress: `2001:db8:0:${i.toString(16)}::1` })).toBe(null);
      }
      return isPassword.kinds;
    };
    const names = Array.from({ length: 60 }, (_, i) => `name-${i}`);
    const kinds = await kindsOf(names);
    expect(kinds).toHaveLength(60);
    expect(new Set(kinds)).toEqual(new Set(['sha512', 'pbkdf2']));
    expect(kinds.filter((kind) => kind === 'sha512').length).toBeGreaterThan(10);
    expect(kinds.filter((kind) => kind === 'pbkdf2').length).toBeGreaterThan(10);
    expect(await kindsOf(names)).toEqual(kinds);
    await users.put('cleo', { password: 'secret' });
    const later = await kindsOf(names);
    expect(later).toContain('scrypt');
    await users.remove('cleo');
    expect(await kindsOf(names)).toEqual(kinds);
  });
});

describe('a change', () => {
  it('of password, of groups and removal end what was let in, and nothing else does', async () => {
    const world = await openAuthWorld();
    const { users, authenticator } = world;
    await users.put('ann', { password: 'secret' });
    await users.put('bob', { password: 'secret' });
    const bob = (await world.login('bob', 'secret')) as Principal;
    const come = async (password: string) => (await world.login('ann', password)) as Principal;
    let ann = await come('secret');
    await users.put('ann', { groups: [] });
    expect(authenticator.isCurrent(ann)).toBe(true);
    await users.put('ann', { groups: ['staff'] });
    expect(authenticator.isCurrent(ann)).toBe(false);
    ann = await come('secret');
    expect(ann.groups).toEqual(['staff']);
    await users.put('ann', { password: 'other' });
    expect(authenticator.isCurrent(ann)).toBe(false);
    expect(await come('secret')).toBe(null);
    ann = await come('other');
    expect(await users.remove('ann')).toBe(true);
    expect(await users.remove('ann')).toBe(false);
    expect(authenticator.isCurrent(ann)).toBe(false);
    expect(await come('other')).toBe(null);
    expect(authenticator.isCurrent(bob)).toBe(true);
  });

  it('is there after a restart, and no password is stored in clear', async () => {
    const world = await openAuthWorld();
    await world.users.put('ann', { password: 'secret-of-ann', groups: ['staff'] });
    const again = await openAuthWorld({}, world.storage);
    expect(await again.login('ann', 'secret-of-ann')).toMatchObject({ groups: ['staff'] });
    for await (const [, bytes] of (await world.storage.openTable('users')).scan('')) {
      expect(Buffer.from(bytes).toString()).not.toContain('secret-of-ann');
    }
    expect([...again.users.list()]).toEqual([{ name: 'ann', source: 'api', groups: ['staff'], scram: true }]);
    expect(world.log.lines.join()).not.toContain('secret-of-ann');
  });

  it.each([
    ['', { password: 'x' }],
    ['a\nb', { password: 'x' }],
    ['ann', {}],
    ['ann', { password: '' }],
    ['ann', { password: 'x', passwordHash: SHA512 }],
    ['ann', { passwordHash: 'x' }],
    ['ann', { password: 'x', groups: [''] }],
    ['bob', { password: 'x' }],
  ])('%j with %j is refused', async (name, change) => {
    const { users } = await openAuthWorld({ users: [{ name: 'bob', password: SHA512 }] });
    await expect(users.put(name, change)).rejects.toMatchObject({ code: 'invalid-argument' });
  });
});

describe('the password file', () => {
  it('is read again, and only who changed is not current any more', async () => {
    const passwordFile = writeFile(`# users\nann:${SHA512}\nbob:${PBKDF2}\n`);
    const world = await openAuthWorld({ passwordFile });
    const ann = (await world.login('ann', 'geheim')) as Principal;
    const bob = (await world.login('bob', 'geheim')) as Principal;
    expect(bob.user).toBe('bob');
    writeFileSync(passwordFile, `ann:${SHA512}\nbob:${SHA512}\ncleo:${SHA512}\n`);
    await world.reload();
    expect(world.authenticator.isCurrent(ann)).toBe(true);
    expect(world.authenticator.isCurrent(bob)).toBe(false);
    expect(await world.login('cleo', 'geheim')).toMatchObject({ user: 'cleo' });
    writeFileSync(passwordFile, 'ann:geheim\n');
    await expect(world.reload()).rejects.toThrow(`${passwordFile}:1`);
    expect(await world.login('cleo', 'geheim')).toMatchObject({ user: 'cleo' });
    world.close();
  });

  it('is looked at every second', async () => {
    const passwordFile = writeFile(`ann:${SHA512}\n`);
    const world = await openAuthWorld({ passwordFile });
    writeFileSync(passwordFile, `ann:${SHA512}\nbobby:${SHA512}\n`);
    world.clock.advance(1_000);
    await vi.waitFor(() => expect(world.users.get('bobby')).toBeDefined());
    world.close();
  });
});

describe('logins', () => {
  it('of many clients with one password cost one hash', async () => {
    const world = await openAuthWorld();
    await world.users.put('ann', { password: 'secret' });
    isPassword.calls = 0;
    const all = await Promise.all(Array.from({ length: 1_000 }, () => world.login('ann', 'secret')));
    expect(all.every((principal) => principal !== null)).toBe(true);
    expect(isPassword.calls).toBe(1);
    await world.login('ann', 'secret');
    expect(isPassword.calls).toBe(1);
    await world.login('nobody', 'secret');
    expect(isPassword.calls).toBe(2);
    world.clock.advance(300_000);
    await world.login('ann', 'secret');
    expect(isPassword.calls).toBe(3);
  });

  it('that fail too often are refused unasked, by address', async () => {
    const world = await openAuthWorld({
      attempts: { perAddressMax: 5, perUserMax: 100, windowMs: 60_000, entriesMax: 100 },
    });
    await world.users.put('ann', { password: 'secret' });
    isPassword.calls = 0;
    for (let i = 0; i < 20; i++) expect(await world.login(`user-${i}`, 'guess')).toBe(null);
    expect(isPassword.calls).toBe(5);
    expect(await world.login('ann', 'secret')).toBe(null);
    expect(world.counters).toEqual({ accepted: 0, refused: 5, limited: { address: 16, user: 0 } });
    expect(world.log.lines).toHaveLength(1);
    expect(await world.login('ann', 'secret', { remoteAddress: '192.0.2.8' })).not.toBe(null);
    world.clock.advance(120_000);
    expect(await world.login('ann', 'secret')).not.toBe(null);
  });

  it('of one user that fail from many addresses leave it those where it came in before', async () => {
    const world = await openAuthWorld({
      attempts: { perAddressMax: 100, perUserMax: 5, windowMs: 60_000, entriesMax: 100 },
    });
    await world.users.put('ann', { password: 'secret' });
    const home = { remoteAddress: '2001:db8:1:2::3' };
    expect(await world.login('ann', 'secret', home)).not.toBe(null);
    for (let i = 0; i < 6; i++) await world.login('ann', `guess ${i}`, { remoteAddress: `192.0.2.${i}` });
    expect(await world.login('ann', 'secret', { remoteAddress: '192.0.2.9' })).toBe(null);
    expect(await world.login('ann', 'secret', { remoteAddress: '2001:db8:1:2:ffff::1' })).not.toBe(null);
    expect(await world.login('ann', 'secret', { remoteAddress: '2001:db8:1:3::3' })).toBe(null);
  });

  it('that come all at once are bounded as well', async () => {
    const world = await openAuthWorld({
      attempts: { perAddressMax: 5, perUserMax: 100, windowMs: 60_000, entriesMax: 100 },
    });
    await world.users.put('ann', { password: 'secret' });
    isPassword.calls = 0;
    await Promise.all(Array.from({ length: 100 }, (_, i) => world.login('ann', `guess ${i}`)));
    expect(isPassword.calls).toBe(5);
    expect(world.counters).toEqual({ accepted: 0, refused: 5, limited: { address: 95, user: 0 } });
  });

  it('that come all at once from many addresses are bounded by user, and leave nobody waiting', async () => {
    const world = await openAuthWorld({
      attempts: { perAddressMax: 100, perUserMax: 5, windowMs: 60_000, entriesMax: 100 },
    });
    await world.users.put('ann', { password: 'secret' });
    isPassword.calls = 0;
    const guesses = Array.from({ length: 100 }, (_, i) =>
      world.login('ann', `guess ${i}`, { remoteAddress: `192.0.2.${i % 20}` }),
    );
    expect(await Promise.all(guesses)).toEqual(Array(100).fill(null));
    expect(isPassword.calls).toBe(5);
  });

  it('that are right and come all at once are all let in, however few may fail', async () => {
    const world = await openAuthWorld({
      attempts: { perAddressMax: 2, perUserMax: 1, windowMs: 60_000, entriesMax: 100 },
    });
    for (let i = 0; i < 10; i++) await world.users.put(`user-${i}`, { password: 'secret' });
    const logins = Array.from({ length: 200 }, (_, i) =>
      world.login(`user-${i % 10}`, 'secret', { remoteAddress: `192.0.2.${i % 7}` }),
    );
    expect((await Promise.all(logins)).filter((principal) => principal === null)).toEqual([]);
  });

  it('with a name of any length are bounded, and it is not kept', async () => {
    const world = await openAuthWorld({
      attempts: { perAddressMax: 100, perUserMax: 2, windowMs: 60_000, entriesMax: 100 },
    });
    await world.users.put('ann', { password: 'secret' });
    const name = 'x'.repeat(60_000);
    for (let i = 0; i < 4; i++) expect(await world.login(name, `guess ${i}`)).toBe(null);
    expect(world.counters.limited.user).toBe(2);
    expect(Math.max(...world.log.lines.map(({ length }) => length))).toBeLessThan(1_000);
  });
});
