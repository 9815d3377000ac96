/** A token is let in only with the right key, algorithm, times, issuer, audience, user and client id. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { JwtVerifier } from '../../../src/auth/jwt.ts';
import { type JwtSettings, jwtSettings } from '../../../src/auth/jwt-settings.ts';
import type { Principal } from '../../../src/core/index.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import {
  answerJson,
  LogLines,
  originWith,
  passwordOf,
  type Service,
  settingsOf,
  startService,
} from './proof-world.ts';

const SECRET = 'a secret of at least sixty-four bytes, so that HS512 may use it as well';
const clock = new ManualClock(1_700_000_000_000);
const nowS = 1_700_000_000;
const folder = mkdtempSync(join(tmpdir(), 'rosettamq-jwt-'));
afterAll(() => rmSync(folder, { recursive: true }));

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const ed = generateKeyPairSync('ed25519');

function writePem(name: string, key: KeyObject): string {
  const path = join(folder, name);
  writeFileSync(path, key.export({ type: 'spki', format: 'pem' }));
  return path;
}
const files = {
  rsa: writePem('rsa.pem', rsa.publicKey),
  p256: writePem('p256.pem', p256.publicKey),
  p384: writePem('p384.pem', p384.publicKey),
  ed: writePem('ed.pem', ed.publicKey),
};

interface Claims {
  readonly [name: string]: unknown;
}

function sign(alg: string, key: KeyObject | Uint8Array, claims: Claims = {}, kid?: string): Promise<string> {
  return new SignJWT({ sub: 'ann', exp: nowS + 60, ...claims })
    .setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }) })
    .sign(key);
}
const secretToken = (claims: Claims = {}): Promise<string> => sign('HS256', Buffer.from(SECRET), claims);

function verifierWith(changes: Partial<JwtSettings>, log = new LogLines()): JwtVerifier {
  return new JwtVerifier(settingsOf<JwtSettings>(jwtSettings, changes), clock, log);
}
const withSecret = (changes: Partial<JwtSettings> = {}): JwtVerifier =>
  verifierWith({ secrets: [SECRET], ...changes });

const ann = { user: 'ann', groups: [], clientId: 'client-1', expiresAtMs: (nowS + 60) * 1_000 + 5_000 };

describe('signatures', () => {
  const everything: Partial<JwtSettings> = {
    algorithms: ['HS256', 'HS384', 'HS512', 'RS256', 'RS512', 'PS256', 'PS384', 'ES256', 'ES384', 'EdDSA'],
    secrets: [SECRET],
    publicKeyFiles: Object.values(files),
  };

  it.each([
    ['HS256', Buffer.from(SECRET)],
    ['HS384', Buffer.from(SECRET)],
    ['HS512', Buffer.from(SECRET)],
    ['RS256', rsa.privateKey],
    ['RS512', rsa.privateKey],
    ['PS256', rsa.privateKey],
    ['PS384', rsa.privateKey],
    ['ES256', p256.privateKey],
    ['ES384', p384.privateKey],
    ['EdDSA', ed.privateKey],
  ] as const)('%s is let in', async (alg, key) => {
    const verifier = verifierWith(everything);
    expect(await verifier.verify(passwordOf('', await sign(alg, key)), originWith())).toEqual(ann);
  });

  it('of an algorithm that is not configured are refused', async () => {
    const verifier = verifierWith({ ...everything, algorithms: ['RS256', 'HS512'] });
    expect(await verifier.verify(passwordOf('', await sign('PS256', rsa.privateKey)), originWith())).toBe(
      null,
    );
    expect(await verifier.verify(passwordOf('', await secretToken()), originWith())).toBe(null);
  });

  it('of another key are refused', async () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const verifier = verifierWith(everything);
    expect(await verifier.verify(passwordOf('', await sign('ES256', other.privateKey)), originWith())).toBe(
      null,
    );
    const wrong = await sign('HS256', Buffer.from(SECRET.toUpperCase()));
    expect(await verifier.verify(passwordOf('', wrong), originWith())).toBe(null);
  });

  it('none at all is refused', async () => {
    const verifier = verifierWith(everything);
    const token = new UnsecuredJWT({ sub: 'ann', exp: nowS + 60 }).encode();
    expect(await verifier.verify(passwordOf('', token), originWith())).toBe(null);
    const [, payload] = (await secretToken()).split('.');
    expect(await verifier.verify(passwordOf('', `${token.split('.')[0]}.${payload}.`), originWith())).toBe(
      null,
    );
  });

  it('made with a public key as if it were a secret are refused', async () => {
    const verifier = verifierWith({
      algorithms: ['HS256', 'RS256'],
      secrets: [SECRET],
      publicKeyFiles: [files.rsa],
    });
    const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' });
    const der = rsa.publicKey.export({ type: 'spki', format: 'der' });
    for (const key of [Buffer.from(pem), der]) {
      expect(await verifier.verify(passwordOf('', await sign('HS256', key)), originWith())).toBe(null);
    }
  });

  it('of an older and a newer secret are both let in', async () => {
    const newer = `${SECRET} renewed`;
    const verifier = verifierWith({ secrets: [newer, SECRET] });
    expect(await verifier.verify(passwordOf('', await secretToken()), originWith())).toEqual(ann);
    const renewed = await sign('HS256', Buffer.from(newer));
    expect(await verifier.verify(passwordOf('', renewed), originWith())).toEqual(ann);
  });

  it('a claim that was changed is refused', async () => {
    const [header, , signature] = (await secretToken()).split('.');
    const payload = Buffer.from(JSON.stringify({ sub: 'root', exp: nowS + 60 })).toString('base64url');
    expect(await withSecret().verify(passwordOf('', `${header}.${payload}.${signature}`), originWith())).toBe(
      null,
    );
  });
});

describe('claims', () => {
  const verify = async (
    claims: Claims,
    changes: Partial<JwtSettings> = {},
    user = '',
    clientId = 'client-1',
  ): Promise<unknown> =>
    withSecret(changes).verify(passwordOf(user, await secretToken(claims)), originWith({ clientId }));

  it('times are kept to, with the tolerance', async () => {
    expect(await verify({ exp: nowS - 4 })).toMatchObject({ user: 'ann' });
    expect(await verify({ exp: nowS - 6 })).toBe(null);
    expect(await verify({ nbf: nowS + 4 })).toMatchObject({ user: 'ann' });
    expect(await verify({ nbf: nowS + 6 })).toBe(null);
    expect(await verify({ exp: nowS - 6 }, { clockToleranceMs: 10_000 })).toMatchObject({ user: 'ann' });
  });

  it('a token without end is refused unless it may be', async () => {
    expect(await verify({ exp: undefined })).toBe(null);
    expect(await verify({ exp: undefined }, { requireExpiry: false })).toEqual({
      user: 'ann',
      groups: [],
      clientId: 'client-1',
    });
  });

  it('issuer and audience are those that are asked for', async () => {
    const changes = { issuers: ['https://a', 'https://b'], audiences: ['gateway'] };
    expect(await verify({ iss: 'https://b', aud: ['x', 'gateway'] }, changes)).toMatchObject({ user: 'ann' });
    expect(await verify({ iss: 'https://c', aud: 'gateway' }, changes)).toBe(null);
    expect(await verify({ iss: 'https://a', aud: 'x' }, changes)).toBe(null);
    expect(await verify({ aud: 'gateway' }, changes)).toBe(null);
    expect(await verify({ iss: 'https://a' }, changes)).toBe(null);
  });

  it('the user name beside it is empty or the same', async () => {
    expect(await verify({}, {}, 'ann')).toMatchObject({ user: 'ann' });
    expect(await verify({}, {}, 'bob')).toBe(null);
    expect(await verify({}, { userName: 'ignored' }, 'bob')).toMatchObject({ user: 'ann' });
  });

  it('the user comes from the claim that is set, also inside of another', async () => {
    expect(await verify({ name: 'eve' }, { userClaim: 'name' })).toMatchObject({ user: 'eve' });
    expect(await verify({ a: { b: 'eve' } }, { userClaim: 'a.b' })).toMatchObject({ user: 'eve' });
    expect(await verify({ 'https://x.y/z': 'eve' }, { userClaim: 'https://x.y/z' })).toMatchObject({
      user: 'eve',
    });
  });

  it.each([undefined, '', 7, 'a\u0000b', ['ann'], null])('a user %j is none', async (sub) => {
    expect(await verify({ sub })).toBe(null);
  });

  it('a claim that every object has is none', async () => {
    expect(await verify({}, { userClaim: 'constructor.name' })).toBe(null);
  });

  it('the client id must be that of the token, where it has one', async () => {
    const changes = { clientIdClaim: 'client' };
    expect(await verify({ client: 'client-1' }, changes)).toMatchObject({ clientId: 'client-1' });
    expect(await verify({ client: 'client-2' }, changes)).toBe(null);
    expect(await verify({ client: 'client-1' }, changes, '', '')).toBe(null);
    expect(await verify({ client: 7 }, changes)).toBe(null);
    expect(await verify({}, changes)).toMatchObject({ clientId: 'client-1' });
  });

  it('groups are a list or words, also inside of another claim', async () => {
    expect(await verify({ groups: ['a', 'b c'] })).toMatchObject({ groups: ['a', 'b c'] });
    expect(await verify({ scope: 'a  b' }, { groupsClaim: 'scope' })).toMatchObject({ groups: ['a', 'b'] });
    const nested = { realm_access: { roles: ['admin'] } };
    expect(await verify(nested, { groupsClaim: 'realm_access.roles' })).toMatchObject({ groups: ['admin'] });
    expect(await verify({ groups: ['a'] }, { groupsClaim: '' })).toMatchObject({ groups: [] });
    expect(await verify({ groups: [1] })).toBe(null);
  });
});

describe('what is left to others', () => {
  it.each(['secret', 'a.b.c', 'eyJhbGciOiJub25lIn0', `eyJ.e.${'x'.repeat(20_000)}`])('%.30s', (password) => {
    expect(withSecret().verify(passwordOf('ann', password), originWith())).toBe('unknown');
  });

  it('credentials that are no password', () => {
    expect(withSecret().verify({ kind: 'anonymous' }, originWith())).toBe('unknown');
    expect(withSecret().verify({ kind: 'certificate', user: 'ann' }, originWith())).toBe('unknown');
  });
});

it('is not current any more when it has expired', async () => {
  const own = new ManualClock(nowS * 1_000);
  const verifier = new JwtVerifier(
    settingsOf<JwtSettings>(jwtSettings, { secrets: [SECRET] }),
    own,
    new LogLines(),
  );
  const principal = (await verifier.verify(passwordOf('', await secretToken()), originWith())) as Principal;
  own.advance(64_999);
  expect(verifier.isCurrent(principal)).toBe(true);
  own.advance(1);
  expect(verifier.isCurrent(principal)).toBe(false);
});

describe('settings that cannot work are refused', () => {
  it.each([
    [{}, /needs a key/],
    [{ secrets: ['x'.repeat(40)], algorithms: ['HS512'] }, /at least 64 bytes/],
    [{ secrets: [SECRET], algorithms: ['RS256'] }, /HS256, HS384 or HS512/],
    [{ secrets: [`base64:${'!'.repeat(60)}`] }, /not valid base64/],
    [{ publicKeyFiles: [join(folder, 'missing.pem')] }, /missing\.pem/],
    [{ jwksFile: join(folder, 'rsa.pem') }, /jwksFile/],
  ] as [Partial<JwtSettings>, RegExp][])('%#', (changes, reason) => {
    expect(() => verifierWith(changes)).toThrow(reason);
  });

  it('a private key is not taken', () => {
    const path = join(folder, 'private.pem');
    writeFileSync(path, rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }));
    expect(() => verifierWith({ publicKeyFiles: [path] })).toThrow(/private key/);
  });
});

describe('key files', () => {
  it('are read again when they change, and a broken one changes nothing', async () => {
    const own = new ManualClock(nowS * 1_000);
    const path = writePem('turning.pem', p256.publicKey);
    const next = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const log = new LogLines();
    const settings = settingsOf<JwtSettings>(jwtSettings, { publicKeyFiles: [path] });
    const verifier = new JwtVerifier(settings, own, log);
    const before = passwordOf('', await sign('ES256', p256.privateKey));
    const after = passwordOf('', await sign('ES256', next.privateKey));
    expect(await verifier.verify(before, originWith())).not.toBe(null);

    writeFileSync(path, 'half of a key');
    own.advance(3_000);
    expect(await verifier.verify(before, originWith())).not.toBe(null);
    expect(log.lines.join()).toContain('the old ones stay');

    writeFileSync(path, next.publicKey.export({ type: 'spki', format: 'pem' }));
    own.advance(3_000);
    expect(await verifier.verify(after, originWith())).not.toBe(null);
    expect(await verifier.verify(before, originWith())).toBe(null);
  });

  it('that lose a key end who was let in by it, and nobody else', async () => {
    const own = new ManualClock(nowS * 1_000);
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const path = join(folder, 'losing.json');
    const jwks = async (...keys: KeyObject[]): Promise<string> =>
      JSON.stringify({ keys: await Promise.all(keys.map((key) => exportJWK(key))) });
    writeFileSync(path, await jwks(p256.publicKey, other.publicKey, rsa.publicKey));
    const settings = settingsOf<JwtSettings>(jwtSettings, {
      jwksFile: path,
      publicKeyFiles: [files.p384],
      secrets: [SECRET],
    });
    const verifier = new JwtVerifier(
      { ...settings, algorithms: ['HS256', 'ES256', 'ES384', 'RS256'] },
      own,
      new LogLines(),
    );
    let changes = 0;
    verifier.onChange(() => changes++);
    const enter = async (token: Promise<string>): Promise<Principal> =>
      (await verifier.verify(passwordOf('', await token), originWith())) as Principal;
    const lost = await enter(sign('ES256', p256.privateKey));
    const kept = [
      await enter(sign('ES256', other.privateKey)),
      await enter(sign('RS256', rsa.privateKey)),
      await enter(sign('ES384', p384.privateKey)),
      await enter(secretToken()),
    ];
    writeFileSync(path, await jwks(other.publicKey, rsa.publicKey));
    own.advance(2_000);
    await expect.poll(() => changes).toBe(1);
    expect(verifier.isCurrent(lost)).toBe(false);
    expect(kept.map((principal) => verifier.isCurrent(principal))).toEqual([true, true, true, true]);
    writeFileSync(path, 'half of a set');
    await expect(verifier.reload()).rejects.toThrow(path);
    expect(kept.map((principal) => verifier.isCurrent(principal))).toEqual([true, true, true, true]);
    verifier.close();
  });

  it('a key set gives the key of that name, or any that fits', async () => {
    const path = join(folder, 'set.json');
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const keys = [
      { ...(await exportJWK(other.publicKey)), kid: 'other' },
      { ...(await exportJWK(p256.publicKey)), kid: 'ours' },
    ];
    writeFileSync(path, JSON.stringify({ keys }));
    const verifier = verifierWith({ jwksFile: path });
    const verify = async (kid?: string): Promise<unknown> =>
      verifier.verify(passwordOf('', await sign('ES256', p256.privateKey, {}, kid)), originWith());
    expect(await verify('ours')).toEqual(ann);
    expect(await verify()).toEqual(ann);
    expect(await verify('other')).toBe(null);
    expect(await verify('third')).toBe(null);
  });
});

describe('a key set behind an address', () => {
  let service: Service;
  let mode: 'good' | 'broken' | 'silent' | 'endless' = 'good';
  beforeAll(async () => {
    const keys = [{ ...(await exportJWK(p256.publicKey)), kid: 'ours' }];
    service = await startService((response) => {
      if (mode === 'good') answerJson(response, { keys });
      else if (mode === 'broken') response.writeHead(500).end();
      else if (mode === 'endless') response.writeHead(200).end('x'.repeat(10_000));
    });
  });
  afterAll(() => service.stop());

  const verifyWith = async (verifier: JwtVerifier, kid: string): Promise<unknown> =>
    verifier.verify(passwordOf('', await sign('ES256', p256.privateKey, {}, kid)), originWith());

  it('is asked once, however many tokens come with names that it does not know', async () => {
    mode = 'good';
    service.requests.length = 0;
    const verifier = verifierWith({ jwksUrl: service.url });
    expect(await Promise.all([verifyWith(verifier, 'ours'), verifyWith(verifier, 'ours')])).toEqual([
      ann,
      ann,
    ]);
    expect(await verifyWith(verifier, 'nobody')).toBe(null);
    expect(await verifyWith(verifier, 'nobody else')).toBe(null);
    expect(service.requests.length).toBe(1);
  });

  it.each(['broken', 'silent', 'endless'] as const)(
    'that is %s decides nothing, and is left in peace',
    async (how) => {
      mode = how;
      service.requests.length = 0;
      const verifier = verifierWith({ jwksUrl: service.url, jwksTimeoutMs: 100, jwksBytesMax: 1_024 });
      await expect(verifyWith(verifier, 'ours')).rejects.toThrow(/not to be had/);
      await expect(verifyWith(verifier, 'ours')).rejects.toThrow(/not to be had/);
      expect(service.requests.length).toBe(1);
    },
  );

  it('that loses a key ends who was let in by it, without a further token', async () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const ours = { ...(await exportJWK(p256.publicKey)), kid: 'ours' };
    const theirs = { ...(await exportJWK(other.publicKey)), kid: 'theirs' };
    let keys: object[] = [ours, theirs];
    let isBroken = false;
    const rotating = await startService((response) => {
      if (isBroken) response.writeHead(500).end();
      else answerJson(response, { keys });
    });
    const own = new ManualClock(nowS * 1_000);
    const settings = settingsOf<JwtSettings>(jwtSettings, { jwksUrl: rotating.url, jwksMaxAgeMs: 10_000 });
    const verifier = new JwtVerifier(settings, own, new LogLines());
    const enter = async (key: KeyObject, kid: string): Promise<Principal> =>
      (await verifier.verify(passwordOf('', await sign('ES256', key, {}, kid)), originWith())) as Principal;
    const lost = await enter(p256.privateKey, 'ours');
    const kept = await enter(other.privateKey, 'theirs');
    isBroken = true;
    own.advance(10_000);
    await expect.poll(() => rotating.requests.length).toBe(2);
    expect(verifier.isCurrent(lost)).toBe(true);
    isBroken = false;
    keys = [theirs];
    own.advance(10_000);
    await expect.poll(() => verifier.isCurrent(lost)).toBe(false);
    expect(verifier.isCurrent(kept)).toBe(true);
    verifier.close();
    await rotating.stop();
  });

  it('that fails does not stand in the way of keys that are there', async () => {
    mode = 'broken';
    const verifier = verifierWith({ jwksUrl: service.url, publicKeyFiles: [files.p256] });
    expect(await verifyWith(verifier, 'ours')).toEqual(ann);
  });
});

it('nothing of a token or a secret is logged', async () => {
  const log = new LogLines();
  const verifier = verifierWith({ secrets: [SECRET] }, log);
  const token = await sign('HS256', Buffer.from('x'.repeat(64)));
  await verifier.verify(passwordOf('', token), originWith());
  expect(log.lines.length).toBe(1);
  expect(log.lines.join()).not.toContain(token.split('.')[2]);
  expect(log.lines.join()).not.toContain(SECRET);
});
