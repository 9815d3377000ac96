/** A service is asked over HTTP; what it does not clearly allow is not let in, and its answers are kept for a time. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { HttpCalloutVerifier } from '../../../src/auth/http-callout.ts';
import { type HttpCalloutSettings, httpCalloutSettings } from '../../../src/auth/http-callout-settings.ts';
import type { Principal } from '../../../src/core/index.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import {
  answerJson,
  certificateOf,
  LogLines,
  originWith,
  passwordOf,
  type Service,
  settingsOf,
  startService,
} from './proof-world.ts';

type Answer = Parameters<typeof startService>[0];
let service: Service;
let answer: Answer;
let clock: ManualClock;
let log: LogLines;

beforeAll(async () => {
  service = await startService((response, body) => answer(response, body));
});
afterAll(() => service.stop());
beforeEach(() => {
  service.requests.length = 0;
  clock = new ManualClock();
  log = new LogLines();
  answer = (response) => answerJson(response, { result: 'allow' });
});

function verifierWith(changes: Partial<HttpCalloutSettings> = {}): HttpCalloutVerifier {
  const settings = settingsOf<HttpCalloutSettings>(httpCalloutSettings, { url: service.url, ...changes });
  return new HttpCalloutVerifier(settings, clock, log);
}
const ask = async (verifier: HttpCalloutVerifier, user = 'ann', password = 'secret'): Promise<unknown> =>
  verifier.verify(passwordOf(user, password), originWith());

describe('the question', () => {
  it('tells who wants to come in, and the headers that are set', async () => {
    const verifier = verifierWith({ headers: ['Authorization: Bearer of-the-gateway', 'X-Site: north'] });
    const certificate = certificateOf();
    await verifier.verify(passwordOf('ann', 'sécret'), originWith({ certificate }));
    const [request] = service.requests;
    expect(JSON.parse(request?.body ?? '')).toEqual({
      user: 'ann',
      password: 'sécret',
      clientId: 'client-1',
      listener: 'any',
      remoteAddress: '192.0.2.7',
      certificate,
    });
    expect(request?.headers).toMatchObject({
      authorization: 'Bearer of-the-gateway',
      'x-site': 'north',
      'content-type': 'application/json',
    });
  });

  it('has bytes that are no text in base64, and null for what is not there', async () => {
    const verifier = verifierWith();
    await verifier.verify(passwordOf('ann', Buffer.from([0xff, 0x00])), originWith());
    expect(JSON.parse(service.requests[0]?.body ?? '')).toMatchObject({
      user: 'ann',
      passwordBase64: '/wA=',
    });
    await verifier.verify({ kind: 'anonymous' }, originWith());
    expect(JSON.parse(service.requests[1]?.body ?? '')).toMatchObject({
      user: null,
      password: null,
      certificate: null,
    });
  });
});

describe('the answer', () => {
  it('allow lets in as the client says, or as the service says', async () => {
    const verifier = verifierWith({ allowCacheMs: 0 });
    expect(await ask(verifier)).toEqual({ user: 'ann', groups: [], clientId: 'client-1' });
    answer = (response) => answerJson(response, { result: 'allow', user: 'Ann', groups: ['staff'] });
    expect(await ask(verifier)).toEqual({ user: 'Ann', groups: ['staff'], clientId: 'client-1' });
    answer = (response) => answerJson(response, { result: 'allow' });
    expect(await verifier.verify({ kind: 'anonymous' }, originWith())).toMatchObject({ user: '' });
  });

  it('allow lets nobody in whose name would deceive who reads it', async () => {
    expect(await ask(verifierWith(), 'ann\nroot')).toBe(null);
  });

  it('deny refuses, ignore leaves it to others', async () => {
    answer = (response) => answerJson(response, { result: 'deny' });
    expect(await ask(verifierWith())).toBe(null);
    answer = (response) => answerJson(response, { result: 'ignore' });
    expect(await ask(verifierWith())).toBe('unknown');
  });

  it.each([1_700_000_010, '2023-11-14T22:13:30Z', '2023-11-14T23:13:30+01:00'])(
    'expiresAt %j ends it',
    async (expiresAt) => {
      answer = (response) => answerJson(response, { result: 'allow', expiresAt });
      const verifier = verifierWith();
      const principal = (await ask(verifier)) as Principal;
      clock.advance(9_999);
      expect(verifier.isCurrent(principal)).toBe(true);
      expect(await ask(verifier)).toMatchObject({ user: 'ann' });
      clock.advance(1);
      expect(verifier.isCurrent(principal)).toBe(false);
      // The remembered answer does not let anybody in after its end either.
      expect(await ask(verifier)).toBe(null);
    },
  );
});

describe('nobody is let in by', () => {
  it.each<[string, Answer]>([
    ['an error', (response) => response.writeHead(500).end('{"result":"allow"}')],
    ['another status', (response) => response.writeHead(201).end('{"result":"allow"}')],
    ['a redirect', (response) => response.writeHead(307, { location: '/elsewhere' }).end()],
    ['an empty answer', (response) => response.writeHead(200).end()],
    ['no JSON', (response) => response.writeHead(200).end('allow')],
    ['a list', (response) => answerJson(response, [])],
    ['another result', (response) => answerJson(response, { result: true })],
    ['no result', (response) => answerJson(response, { user: 'ann' })],
    ['a user that is none', (response) => answerJson(response, { result: 'allow', user: 7 })],
    ['a group that is none', (response) => answerJson(response, { result: 'allow', groups: ['a', ''] })],
    ['a misspelt field', (response) => answerJson(response, { result: 'allow', group: ['a'] })],
    [
      'a time without zone',
      (response) => answerJson(response, { result: 'allow', expiresAt: '2030-01-01T00:00:00' }),
    ],
    [
      'too long an answer',
      (response) => response.writeHead(200).end(`{"result":"allow"}${' '.repeat(70_000)}`),
    ],
    ['an end in the middle', (response) => response.writeHead(200, { 'content-length': 90 }).destroy()],
    ['silence', () => {}],
  ])('%s', async (_, how) => {
    answer = how;
    await expect(ask(verifierWith({ timeoutMs: 300 }))).rejects.toThrow(/gave no answer/);
    expect(service.requests.length).toBe(1);
  });

  it('a service that is not there, which is told once', async () => {
    const gone = await startService(() => {});
    await gone.stop();
    const verifier = verifierWith({ url: gone.url });
    for (let i = 0; i < 3; i++) await expect(ask(verifier)).rejects.toThrow(/gave no answer/);
    expect(log.lines.filter((line) => line.includes('gives no answer')).length).toBe(1);
  });
});

describe('answers are remembered', () => {
  it('for the time of the settings, deny for a shorter one', async () => {
    const verifier = verifierWith();
    await ask(verifier);
    clock.advance(59_999);
    await ask(verifier);
    expect(service.requests.length).toBe(1);
    clock.advance(1);
    answer = (response) => answerJson(response, { result: 'deny' });
    expect(await ask(verifier)).toBe(null);
    clock.advance(4_999);
    expect(await ask(verifier)).toBe(null);
    expect(service.requests.length).toBe(2);
    clock.advance(1);
    await ask(verifier);
    expect(service.requests.length).toBe(3);
  });

  it.each([
    ['allow', 'max-age=120', 120_000],
    ['allow', 'private, max-age="3"', 3_000],
    ['allow', 'max-age=999999', 3_600_000],
    ['allow', 'no-store', 0],
    ['allow', 'max-age=100, no-cache', 0],
    ['deny', 'max-age=120', 5_000],
    ['deny', 'max-age=2', 2_000],
  ])('%s with Cache-Control %s', async (result, cacheControl, keptMs) => {
    answer = (response) => answerJson(response, { result }, { 'cache-control': cacheControl });
    const verifier = verifierWith();
    await ask(verifier);
    clock.advance(Math.max(keptMs - 1, 0));
    await ask(verifier);
    expect(service.requests.length).toBe(keptMs === 0 ? 2 : 1);
    clock.advance(1);
    await ask(verifier);
    expect(service.requests.length).toBe(keptMs === 0 ? 3 : 2);
  });

  it('for exactly these credentials and this connection', async () => {
    const verifier = verifierWith();
    const verify = (user: string, password: string, changes = {}): unknown =>
      verifier.verify(passwordOf(user, password), originWith(changes));
    await verify('ann', 'bc');
    await verify('annb', 'c');
    await verify('ann', 'bd');
    await verify('ann', 'bc', { clientId: 'other' });
    await verify('ann', 'bc', { remoteAddress: '192.0.2.8' });
    await verify('ann', 'bc', { listener: 'other' });
    await verify('ann', 'bc', { certificate: certificateOf() });
    expect(service.requests.length).toBe(7);
    await verify('ann', 'bc');
    expect(service.requests.length).toBe(7);
  });

  it('but not failures', async () => {
    answer = (response) => response.writeHead(503).end();
    const verifier = verifierWith();
    await expect(ask(verifier)).rejects.toThrow();
    answer = (response) => answerJson(response, { result: 'allow' });
    expect(await ask(verifier)).toMatchObject({ user: 'ann' });
    expect(log.lines.at(-1)).toContain('answers again');
  });

  it('at most so many, the one used longest ago goes', async () => {
    const verifier = verifierWith({ cacheEntriesMax: 2 });
    await ask(verifier, 'a');
    await ask(verifier, 'b');
    await ask(verifier, 'a');
    await ask(verifier, 'c');
    expect(service.requests.length).toBe(3);
    await ask(verifier, 'a');
    expect(service.requests.length).toBe(3);
    await ask(verifier, 'b');
    expect(service.requests.length).toBe(4);
  });
});

describe('many at once', () => {
  it('with the same credentials are one question', async () => {
    const verifier = verifierWith();
    const answers = await Promise.all([ask(verifier), ask(verifier), ask(verifier)]);
    expect(answers.length).toBe(3);
    expect(service.requests.length).toBe(1);
  });

  it('are asked so many at a time, wait in order, and beyond the bound are turned away', async () => {
    const held: (() => void)[] = [];
    answer = (response) => held.push(() => answerJson(response, { result: 'allow' }));
    const verifier = verifierWith({ concurrencyMax: 2, waitingMax: 1 });
    const asked = ['a', 'b', 'c'].map((user) => ask(verifier, user));
    await expect(ask(verifier, 'd')).rejects.toThrow(/wait already/);
    while (held.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(service.requests.length).toBe(2);
    held[0]?.();
    while (held.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    held[1]?.();
    held[2]?.();
    expect(await Promise.all(asked)).toMatchObject([{ user: 'a' }, { user: 'b' }, { user: 'c' }]);
  });

  it('who waited longer than an answer may take is turned away', async () => {
    const held: (() => void)[] = [];
    answer = (response) => held.push(() => answerJson(response, { result: 'allow' }));
    const verifier = verifierWith({ concurrencyMax: 1 });
    const first = ask(verifier, 'a');
    const second = ask(verifier, 'b');
    const refused = expect(second).rejects.toThrow(/did not come in time/);
    while (held.length < 1) await new Promise((resolve) => setTimeout(resolve, 5));
    clock.advance(5_001);
    held[0]?.();
    expect(await first).toMatchObject({ user: 'a' });
    await refused;
    const third = ask(verifier, 'c');
    while (held.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    held[1]?.();
    expect(await third).toMatchObject({ user: 'c' });
  });
});

it('no password and no header is logged', async () => {
  answer = (response) => response.writeHead(500).end();
  const verifier = verifierWith({ headers: ['Authorization: Bearer of-the-gateway'] });
  await expect(ask(verifier, 'ann', 'a-secret-password')).rejects.toThrow();
  expect(log.lines.length).toBe(1);
  expect(log.lines.join()).not.toMatch(/a-secret-password|of-the-gateway/);
});

it('settings without an address are refused', () => {
  expect(() => verifierWith({ url: '' })).toThrow(/auth\.http\.url/);
});
