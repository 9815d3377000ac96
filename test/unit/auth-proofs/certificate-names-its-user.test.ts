/** The certificate of the connection says who its client is, and nothing that the client says makes it another. */
import { describe, expect, it } from 'vitest';
import { CertificateVerifier } from '../../../src/auth/certificate.ts';
import { type CertificateSettings, certificateSettings } from '../../../src/auth/certificate-settings.ts';
import { certificateOf, originWith, passwordOf, settingsOf } from './proof-world.ts';

const verifierWith = (changes: Partial<CertificateSettings> = {}): CertificateVerifier =>
  new CertificateVerifier(settingsOf<CertificateSettings>(certificateSettings, changes));

const certificate = certificateOf({
  alternativeNames: [
    { kind: 'dns', value: 'seven.example' },
    { kind: 'email', value: 'seven@example' },
    { kind: 'dns', value: 'other.example' },
    { kind: 'uri', value: 'spiffe://example/seven' },
    { kind: 'ip', value: '192.0.2.9' },
  ],
});
const origin = originWith({ certificate });
const anonymous = { kind: 'anonymous' } as const;

describe('the user name', () => {
  it.each([
    ['commonName', 'sensor-7'],
    ['dns', 'seven.example'],
    ['email', 'seven@example'],
    ['uri', 'spiffe://example/seven'],
    ['fingerprint', 'ab'.repeat(32)],
  ] as const)('comes from %s', (userFrom, user) => {
    const verifier = verifierWith({ userFrom });
    expect(verifier.verify(anonymous, origin)).toEqual({ user, groups: [], clientId: 'client-1' });
    expect(verifier.verify({ kind: 'certificate', user: '' }, origin)).toMatchObject({ user });
    expect(verifier.verify(passwordOf(user, 'anything'), origin)).toMatchObject({ user });
  });

  it('that the client sends is the same, or ignored where that is set', () => {
    expect(verifierWith().verify(passwordOf('root', 'x'), origin)).toBe(null);
    expect(verifierWith().verify({ kind: 'certificate', user: 'root' }, origin)).toBe(null);
    const ignoring = verifierWith({ userName: 'ignored' });
    expect(ignoring.verify(passwordOf('root', 'x'), origin)).toMatchObject({ user: 'sensor-7' });
    expect(ignoring.verify({ kind: 'certificate', user: 'root' }, origin)).toMatchObject({
      user: 'sensor-7',
    });
  });

  it('may be any of several alternative names, but no name of another kind', () => {
    const verifier = verifierWith({ userFrom: 'dns' });
    expect(verifier.verify(passwordOf('other.example', ''), origin)).toMatchObject({ user: 'other.example' });
    expect(verifier.verify(passwordOf('192.0.2.9', ''), origin)).toBe(null);
    expect(verifier.verify(passwordOf('sensor-7', ''), origin)).toBe(null);
  });

  it.each(['', 'a\u0000root', 'a\nb'])('%j is none', (commonName) => {
    const strange = originWith({ certificate: certificateOf({ commonName }) });
    expect(verifierWith().verify(anonymous, strange)).toBe(null);
  });

  it('that the certificate does not have is none', () => {
    const bare = originWith({ certificate: certificateOf() });
    expect(verifierWith({ userFrom: 'email' }).verify(anonymous, bare)).toBe(null);
  });
});

describe('without a certificate', () => {
  it('passwords and nothing are left to others', () => {
    expect(verifierWith().verify(passwordOf('ann', 'x'), originWith())).toBe('unknown');
    expect(verifierWith().verify(anonymous, originWith())).toBe('unknown');
  });

  it('who asked to be let in by it is refused', () => {
    expect(verifierWith().verify({ kind: 'certificate', user: 'ann' }, originWith())).toBe(null);
  });
});

it('counts on the listeners that are named', () => {
  const verifier = verifierWith({ listeners: ['secure'] });
  const there = originWith({ certificate, listener: 'secure' });
  expect(verifier.verify(anonymous, there)).toMatchObject({ user: 'sensor-7' });
  expect(verifier.verify(anonymous, origin)).toBe('unknown');
  expect(verifier.verify({ kind: 'certificate', user: '' }, origin)).toBe(null);
});

it('groups are those whose pattern fits the whole name', () => {
  const groups = [
    'all=*',
    'sensors=sensor-*',
    'seven=sensor-7',
    'dot=sensor.7',
    'part=sensor',
    'ends=*-7',
    'all=s*',
  ];
  const verifier = verifierWith({ groups });
  expect(verifier.verify(anonymous, origin)).toMatchObject({ groups: ['all', 'sensors', 'seven', 'ends'] });
});
