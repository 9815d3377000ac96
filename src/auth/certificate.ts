/**
 * Lets clients in by the TLS certificate that their listener has verified. Called through `src/auth/index.ts` for every
 * kind of credentials, for a client with a certificate need not send any. A client without one is left to others,
 * except where it asked to be let in by its certificate.
 */

import type { Principal } from '../core/index.ts';
import type { ClientCertificate, ConnectionOrigin, Credentials } from '../host.ts';
import type { CertificateSettings } from './certificate-settings.ts';
import { isName } from './identity-name.ts';
import type { Verdict, Verifier } from './verifier.ts';

/** Who knows the authorities that clients' certificates are held against. */
export interface CertificateTrust {
  /** Whether the listener's authorities and revocation lists of now would take this certificate. */
  isTrusted(certificate: ClientCertificate): boolean;
  /** Calls `listener` whenever they may have changed. */
  onChange(listener: () => void): void;
}

/** Where no listener has certificates. */
export const TRUSTS_FOR_EVER: CertificateTrust = { isTrusted: () => true, onChange: () => {} };

interface GroupPattern {
  readonly group: string;
  readonly user: RegExp;
}

export class CertificateVerifier implements Verifier {
  readonly #settings: CertificateSettings;
  readonly #patterns: readonly GroupPattern[];
  readonly #trust: CertificateTrust;
  readonly #certificateOf = new WeakMap<Principal, ClientCertificate>();

  constructor(settings: CertificateSettings, trust: CertificateTrust = TRUSTS_FOR_EVER) {
    this.#settings = settings;
    this.#trust = trust;
    this.#patterns = settings.groups.map(patternFromSetting);
  }

  verify(credentials: Credentials, { certificate, listener, clientId }: ConnectionOrigin): Verdict {
    const { listeners, userFrom, userName } = this.#settings;
    const isAsked = credentials.kind === 'certificate';
    if (certificate === null || (listeners.length > 0 && !listeners.includes(listener))) {
      return isAsked ? null : 'unknown';
    }
    const names = namesOf(certificate, userFrom).filter(isName);
    const wanted = credentials.kind === 'anonymous' || userName === 'ignored' ? '' : credentials.user;
    const user = wanted === '' ? names[0] : names.find((name) => name === wanted);
    if (user === undefined) return null;
    const { expiresAtMs } = certificate;
    const principal: Principal = {
      user,
      groups: this.#groupsOf(user),
      clientId,
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    };
    this.#certificateOf.set(principal, certificate);
    return principal;
  }

  isCurrent(principal: Principal): boolean {
    const certificate = this.#certificateOf.get(principal);
    return certificate !== undefined && this.#trust.isTrusted(certificate);
  }

  #groupsOf(user: string): string[] {
    const groups = new Set<string>();
    for (const pattern of this.#patterns) if (pattern.user.test(user)) groups.add(pattern.group);
    return [...groups];
  }
}

/** Every name in the certificate that the setting means, in its order. */
function namesOf(certificate: ClientCertificate, from: CertificateSettings['userFrom']): readonly string[] {
  if (from === 'commonName') return [certificate.commonName];
  if (from === 'fingerprint') return [certificate.fingerprint];
  return certificate.alternativeNames.filter(({ kind }) => kind === from).map(({ value }) => value);
}

function patternFromSetting(setting: string): GroupPattern {
  const equals = setting.indexOf('=');
  const literal = setting.slice(equals + 1).replace(/[\\^$.|?+()[\]{}/]/g, '\\$&');
  const user = new RegExp(`^${literal.replace(/\*+/g, '[^]*')}$`, 'u');
  return { group: setting.slice(0, equals), user };
}
