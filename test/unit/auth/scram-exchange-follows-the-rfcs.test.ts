/** SCRAM seen from the server, with the exchanges that the RFCs print. */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { preparedText } from '../../../src/auth/saslprep.ts';
import { ScramExchange, type ScramKeys, type ScramMechanism, scramKeysOf } from '../../../src/auth/scram.ts';
import { originWith } from '../auth-proofs/proof-world.ts';
import { type AuthWorld, openAuthWorld } from './auth-world.ts';

const SALT = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
const NONCE = '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
const CLIENT_NONCE = 'rOprNGfwEbeRWgbNEkqO';
const FIRST = `n,,n=user,r=${CLIENT_NONCE}`;
const FINAL = `c=biws,r=${CLIENT_NONCE}${NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`;

function exchangeWith(keys: ScramKeys, refused: string[] = []): ScramExchange {
  const host = {
    keysOf: () => keys,
    begin: () => ({ end: () => {} }),
    accept: (user: string) => ({ user, groups: [], clientId: '' }),
    refuse: (user: string) => void refused.push(user),
  };
  return new ScramExchange('SCRAM-SHA-256', host, NONCE);
}

const keysOfPencil = async (): Promise<ScramKeys> =>
  (await scramKeysOf('SCRAM-SHA-256', 'pencil', SALT, 4096)) as ScramKeys;
const say = async (exchange: ScramExchange, text: string) => exchange.step(Buffer.from(text));

describe('the exchange of RFC 7677', () => {
  it('is answered as printed there', async () => {
    const exchange = exchangeWith(await keysOfPencil());
    const challenge = await say(exchange, FIRST);
    expect(challenge.outcome === 'continue' && Buffer.from(challenge.message).toString()).toBe(
      `r=${CLIENT_NONCE}${NONCE},s=${SALT.toString('base64')},i=4096`,
    );
    const end = await say(exchange, FINAL);
    expect(end).toMatchObject({ outcome: 'accepted', principal: { user: 'user' } });
    expect(end.outcome === 'accepted' && Buffer.from(end.message).toString()).toBe(
      'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
    );
    expect(await say(exchange, FINAL)).toEqual({ outcome: 'refused' });
  });

  it.each([
    ['another proof', FINAL.replace('dHzb', 'dHzc')],
    ['a shorter proof', FINAL.replace(/p=.*/, 'p=AAAA')],
    ['another nonce', FINAL.replace('rOpr', 'rOps')],
    ['another binding', FINAL.replace('biws', 'eSws')],
    ['no proof', FINAL.replace(/,p=.*/, '')],
    ['nothing', ''],
  ])('with %s is refused', async (_what, final) => {
    const refused: string[] = [];
    const exchange = exchangeWith(await keysOfPencil(), refused);
    await say(exchange, FIRST);
    expect(await say(exchange, final)).toEqual({ outcome: 'refused' });
    expect(refused).toEqual(['user']);
    expect(await say(exchange, FINAL)).toEqual({ outcome: 'refused' });
  });

  it.each([
    'p=tls-unique,,n=user,r=abc',
    'n,a=other,n=user,r=abc',
    'n,,m=ext,n=user,r=abc',
    'n,,n=us=er,r=abc',
    'n,,n=us\ner,r=abc',
    'n,,n=,r=abc',
    'n,,n=user,r=',
    'n,,n=user',
    'x',
  ])('a first message %j is refused', async (first) => {
    expect(await say(exchangeWith(await keysOfPencil()), first)).toEqual({ outcome: 'refused' });
  });

  it('lets the client begin where the carrier asked first', async () => {
    const exchange = exchangeWith(await keysOfPencil());
    expect(exchange.step(new Uint8Array(0))).toMatchObject({ outcome: 'continue' });
    expect(await say(exchange, FIRST)).toMatchObject({ outcome: 'continue' });
  });

  it('is asked for once, or who proves nothing could go on for ever', async () => {
    const exchange = exchangeWith(await keysOfPencil());
    expect(await say(exchange, '')).toMatchObject({ outcome: 'continue' });
    expect(await say(exchange, '')).toEqual({ outcome: 'refused' });
  });
});

it('a client may put its own nonce before both again, as older ones of librdkafka do', async () => {
  const world = await openAuthWorld();
  await world.users.put('user', { password: 'pencil', groups: [] });
  const exchange = world.authenticator.begin('SCRAM-SHA-256', originWith());
  const first = 'n,,n=user,r=abcdef';
  const challenge = await exchange?.step(Buffer.from(first));
  if (challenge?.outcome !== 'continue') throw new Error('no challenge');
  const text = Buffer.from(challenge.message).toString();
  const final = proofOf('SCRAM-SHA-256', 'pencil', first, text, 'abcdef');
  expect((await exchange?.step(Buffer.from(final)))?.outcome).toBe('accepted');
});

it('names and passwords are compared in their plain form, RFC 4013 3', () => {
  expect(preparedText('I\u00adX')).toBe('IX');
  expect(preparedText('user')).toBe('user');
  expect(preparedText('\u00aa')).toBe('a');
  expect(preparedText('\u2168')).toBe('IX');
  expect(preparedText('\u0007')).toBe(null);
  expect(preparedText('a\u00a0b')).toBe('a b');
});

function proofOf(
  mechanism: ScramMechanism,
  password: string,
  first: string,
  challenge: string,
  before = '',
): string {
  const digest = mechanism === 'SCRAM-SHA-256' ? 'sha256' : 'sha512';
  const [, nonce, salt, iterations] = /^r=(.*),s=(.*),i=(.*)$/.exec(challenge) as unknown as string[];
  const bytes = digest === 'sha256' ? 32 : 64;
  const salted = pbkdf2Sync(
    password,
    Buffer.from(salt as string, 'base64'),
    Number(iterations),
    bytes,
    digest,
  );
  const clientKey = createHmac(digest, salted).update('Client Key').digest();
  const storedKey = createHash(digest).update(clientKey).digest();
  const bare = `c=biws,r=${before}${nonce}`;
  const signature = createHmac(digest, storedKey)
    .update(`${first.slice(3)},${challenge},${bare}`)
    .digest();
  return `${bare},p=${Buffer.from(clientKey.map((byte, i) => byte ^ (signature[i] as number))).toString('base64')}`;
}

async function login(world: AuthWorld, mechanism: ScramMechanism, user: string, password: string) {
  const exchange = world.authenticator.begin(mechanism, originWith());
  if (exchange === null) return 'no such mechanism';
  const first = `n,,n=${user.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=abcdef`;
  const challenge = await exchange.step(Buffer.from(first));
  if (challenge.outcome !== 'continue') return challenge.outcome;
  const text = Buffer.from(challenge.message).toString();
  const end = await exchange.step(Buffer.from(proofOf(mechanism, password, first, text)));
  return end.outcome === 'accepted' ? end.principal : end.outcome;
}

async function saltOf(world: AuthWorld, user: string): Promise<string> {
  const exchange = world.authenticator.begin('SCRAM-SHA-256', originWith());
  const step = await exchange?.step(Buffer.from(`n,,n=${user},r=abcdef`));
  return step?.outcome === 'continue'
    ? Buffer.from(step.message)
        .toString()
        .replace(/^r=[^,]*/, '')
    : '';
}

describe('with users', () => {
  it.each(['SCRAM-SHA-256', 'SCRAM-SHA-512'] as const)(
    '%s lets in who knows the password',
    async (mechanism) => {
      const world = await openAuthWorld();
      expect(await login(world, mechanism, 'ann', 'secret')).toBe('no such mechanism');
      await world.users.put('a,n=n', { password: 'secret', groups: ['staff'] });
      const principal = await login(world, mechanism, 'a,n=n', 'secret');
      expect(principal).toEqual({ user: 'a,n=n', groups: ['staff'], clientId: 'client-1' });
      expect(typeof principal === 'object' && world.authenticator.isCurrent(principal)).toBe(true);
      expect(await login(world, mechanism, 'a,n=n', 'wrong')).toBe('refused');
      expect(await login(world, mechanism, 'nobody', 'secret')).toBe('refused');
    },
  );

  it('a name that nobody has looks like one that somebody has, also after a restart', async () => {
    const world = await openAuthWorld();
    await world.users.put('ann', { password: 'secret' });
    const [known, unknown] = [await saltOf(world, 'ann'), await saltOf(world, 'bob')];
    expect(unknown).toHaveLength(known.length);
    expect(unknown).not.toBe(await saltOf(world, 'cleo'));
    const again = await openAuthWorld({}, world.storage);
    expect([await saltOf(again, 'ann'), await saltOf(again, 'bob')]).toEqual([known, unknown]);
  });

  it('a password that changes half-way is not good any more', async () => {
    const world = await openAuthWorld();
    await world.users.put('ann', { password: 'secret' });
    const exchange = world.authenticator.begin('SCRAM-SHA-256', originWith());
    const first = 'n,,n=ann,r=abcdef';
    const challenge = await exchange?.step(Buffer.from(first));
    await world.users.put('ann', { password: 'other' });
    const text = challenge?.outcome === 'continue' ? Buffer.from(challenge.message).toString() : '';
    const proof = proofOf('SCRAM-SHA-256', 'secret', first, text);
    expect(await exchange?.step(Buffer.from(proof))).toEqual({ outcome: 'refused' });
  });
});
