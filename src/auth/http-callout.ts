/**
 * Asks a service of the operator's over HTTP whether a client may come in. Called through `src/auth/index.ts` for all
 * credentials that are not refused before. One question for the same credentials at a time, and its answer is remembered
 * for as long as the service and the settings allow. Where there is no understandable answer it throws: nobody is let in
 * then, and nobody is told that the password was wrong either. Neither passwords nor headers are logged or kept.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import { createHmac, randomBytes } from 'node:crypto';
import type { Clock, Principal } from '../core/index.ts';
import type { ConnectionOrigin, Credentials, Logger } from '../host.ts';
import { AnswerCache } from './answer-cache.ts';
import { readBounded } from './bounded-body.ts';
import { answerFromText, type CalloutAnswer, freshnessFromHeader } from './http-callout-answer.ts';
import type { HttpCalloutSettings } from './http-callout-settings.ts';
import { isName } from './identity-name.ts';
import { Turns } from './turns.ts';
import type { Verdict, Verifier } from './verifier.ts';

const OWN_HEADERS = { 'content-type': 'application/json', accept: 'application/json' };

export class HttpCalloutVerifier implements Verifier {
  readonly #settings: HttpCalloutSettings;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #headers: Headers;
  readonly #cache: AnswerCache<CalloutAnswer>;
  readonly #turns: Turns;
  readonly #asking = new Map<string, Promise<CalloutAnswer>>();
  /** Of this process alone: what is remembered tells nothing about passwords to who reads the memory later. */
  readonly #cacheKey = randomBytes(32);
  #isFailing = false;

  /** Throws where the settings name no service. */
  constructor(settings: HttpCalloutSettings, clock: Clock, logger: Logger) {
    if (settings.url === '') throw new Error('auth.http.url says whom to ask, and is empty');
    this.#settings = settings;
    this.#clock = clock;
    this.#logger = logger;
    this.#headers = headersFromSettings(settings.headers);
    this.#cache = new AnswerCache(clock, settings.cacheEntriesMax);
    this.#turns = new Turns(clock, {
      runningMax: settings.concurrencyMax,
      waitingMax: settings.waitingMax,
      waitMsMax: settings.timeoutMs,
    });
  }

  verify(credentials: Credentials, origin: ConnectionOrigin): Verdict | Promise<Verdict> {
    const question = questionFrom(credentials, origin);
    const key = createHmac('sha256', this.#cacheKey).update(question).digest('base64');
    const known = this.#cache.get(key);
    if (known !== undefined) return this.#decide(known, credentials, origin);
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      asking = this.#turns.run(() => this.#ask(question, key)).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return asking.then((answer) => this.#decide(answer, credentials, origin));
  }

  isCurrent(principal: Principal): boolean {
    return principal.expiresAtMs === undefined || this.#clock.nowMs() < principal.expiresAtMs;
  }

  #decide(answer: CalloutAnswer, credentials: Credentials, { clientId }: ConnectionOrigin): Verdict {
    if (answer.result === 'ignore') return 'unknown';
    if (answer.result === 'deny') return null;
    const { groups, expiresAtMs } = answer;
    if (expiresAtMs !== null && expiresAtMs <= this.#clock.nowMs()) return null;
    const user = answer.user ?? (credentials.kind === 'anonymous' ? '' : credentials.user);
    if (user !== '' && !isName(user)) return null;
    return { user, groups, clientId, ...(expiresAtMs === null ? {} : { expiresAtMs }) };
  }

  async #ask(question: string, key: string): Promise<CalloutAnswer> {
    const { url, timeoutMs, answerBytesMax } = this.#settings;
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: this.#headers,
        body: question,
        // Credentials go where the settings say, and nowhere else.
        redirect: 'error',
        signal: AbortSignal.timeout(timeoutMs),
      });
      const body = await readBounded(response, answerBytesMax);
      if (response.status !== 200) throw new Error(`it answered ${response.status}`);
      const answer = answerFromText(body.toString());
      this.#cache.put(key, answer, this.#keepMs(answer, response.headers.get('cache-control')));
      this.#tell(null);
      return answer;
    } catch (error) {
      this.#tell(error);
      throw new Error('the authentication service gave no answer', { cause: error });
    }
  }

  #keepMs(answer: CalloutAnswer, cacheControl: string | null): number {
    const { allowCacheMs, denyCacheMs, cacheMsMax } = this.#settings;
    const saidMs = freshnessFromHeader(cacheControl);
    if (answer.result === 'deny') return Math.min(saidMs ?? denyCacheMs, denyCacheMs, cacheMsMax);
    return Math.min(saidMs ?? allowCacheMs, cacheMsMax);
  }

  /** Once for each time that it begins or ends, however many clients come meanwhile. */
  #tell(error: unknown): void {
    const wasFailing = this.#isFailing;
    this.#isFailing = error !== null;
    if (error !== null && !wasFailing) {
      this.#logger.warn({ err: error }, 'the authentication service gives no answer; nobody is let in by it');
    } else if (error === null && wasFailing) {
      this.#logger.info({}, 'the authentication service answers again');
    }
  }
}

/** The body of the question, which is all that an answer may depend on. */
function questionFrom(credentials: Credentials, origin: ConnectionOrigin): string {
  const { clientId, listener, remoteAddress, certificate } = origin;
  return JSON.stringify({
    user: credentials.kind === 'anonymous' ? null : credentials.user,
    ...(credentials.kind === 'password' ? fieldFromPassword(credentials.password) : { password: null }),
    clientId,
    listener,
    remoteAddress,
    certificate:
      certificate === null
        ? null
        : {
            commonName: certificate.commonName,
            alternativeNames: certificate.alternativeNames,
            fingerprint: certificate.fingerprint,
          },
  });
}

function fieldFromPassword(password: Uint8Array): { password: string } | { passwordBase64: string } {
  const bytes = Buffer.from(password.buffer, password.byteOffset, password.length);
  return isUtf8(bytes) ? { password: bytes.toString() } : { passwordBase64: bytes.toString('base64') };
}

function headersFromSettings(lines: readonly string[]): Headers {
  const headers = new Headers(OWN_HEADERS);
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return headers;
}
