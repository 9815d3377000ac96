/**
 * Lets clients in by the TLS certificate that their listener has verified. Called through `src/auth/index.ts` for every
 * kind of credentials, for a client with a certificate need not send any. A client without one is left to others,
 * except where it asked to be let in by its certificate.
 */

import type { ClientCertificate, ConnectionOrigin, Credentials } from '../host.ts';
import type { CertificateSettings } from './certificate-settings.ts';
import { isName } from './identity-name.ts';
import type { Verdict, Verifier } from './verifier.ts';

interface GroupPattern {
  readonly group: string;
  readonly user: RegExp;
}

export class CertificateVerifier implements Verifier {
  readonly #settings: CertificateSettings;
  readonly #patterns: readonly GroupPattern[];

  constructor(settings: CertificateSettings) {
    this.#settings = settings;
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
    return { user, groups: this.#groupsOf(user), clientId };
  }

  /** The listener checked the certificate when the connection was made; it is not asked again. */
  isCurrent(): boolean {
    return true;
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
