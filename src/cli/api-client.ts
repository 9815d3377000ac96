/**
 * Calls the HTTP API of a running gateway for the commands. The key comes from ROSETTAMQ_API_KEY or a file, never from
 * an argument, which everybody on the machine could read. Whatever goes wrong becomes a `Failure` in plain words.
 */

import { readFileSync } from 'node:fs';
import { EXIT_NO, EXIT_WRONG_ARGUMENTS, Failure } from './failure.ts';

export const API_DEFAULT = 'http://127.0.0.1:8080';

export interface ApiFlags {
  readonly api?: string;
  readonly apiKeyFile?: string;
}

interface ProblemBody {
  readonly detail?: string;
  readonly in?: string;
  readonly pointer?: string;
  readonly errors?: readonly { readonly in: string; readonly pointer: string; readonly detail: string }[];
}

export class ApiClient {
  readonly #url: string;
  readonly #key: string;

  constructor(flags: ApiFlags) {
    const { ROSETTAMQ_API, ROSETTAMQ_API_KEY = '' } = process.env;
    this.#url = checkUrl(flags.api ?? ROSETTAMQ_API ?? API_DEFAULT);
    this.#key = flags.apiKeyFile === undefined ? ROSETTAMQ_API_KEY.trim() : readKey(flags.apiKeyFile);
  }

  /** The answer's JSON; null where it has none. */
  async call(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<unknown> {
    const response = await this.open(method, path, body, headers);
    const text = await this.#orFail(response.text());
    return text === '' ? null : (JSON.parse(text) as unknown);
  }

  /** The answer, whose body is still to be read. */
  async open(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
    signal: AbortSignal | null = null,
  ): Promise<Response> {
    const response = await this.#orFail(
      fetch(this.#url + path, {
        method,
        signal,
        redirect: 'error',
        headers: {
          ...(this.#key === '' ? {} : { authorization: `Bearer ${this.#key}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    );
    if (!response.ok) throw failureFrom(response.status, await this.#orFail(response.text()));
    return response;
  }

  /** Every entry of a list, page by page, up to `max`; `more` where there are others. */
  async list(path: string, max: number): Promise<{ readonly items: unknown[]; readonly more: boolean }> {
    const items: unknown[] = [];
    let after: string | null = null;
    do {
      const query = new URLSearchParams({ limit: String(Math.min(max - items.length, PAGE)) });
      if (after !== null) query.set('after', after);
      const page = (await this.call('GET', `${path}${path.includes('?') ? '&' : '?'}${query}`)) as {
        items: unknown[];
        next: string | null;
      };
      items.push(...page.items);
      after = page.next;
    } while (after !== null && items.length < max);
    return { items, more: after !== null };
  }

  async #orFail<Result>(answer: Promise<Result>): Promise<Result> {
    try {
      return await answer;
    } catch (error) {
      if ((error as Error).name === 'AbortError') throw error;
      const cause = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
      const reason = cause.code ?? cause.message;
      throw new Failure(
        `no answer from ${this.#url}: ${reason}; is the gateway running, and is this its API?`,
      );
    }
  }
}

const PAGE = 1_000;

function checkUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new Failure('--api must be an address such as http://127.0.0.1:8080', EXIT_WRONG_ARGUMENTS);
  }
  return url.origin + url.pathname.replace(/\/$/, '');
}

function readKey(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new Failure(`--api-key-file: ${(error as Error).message}`, EXIT_WRONG_ARGUMENTS);
  }
}

function failureFrom(status: number, text: string): Failure {
  let problem: ProblemBody = {};
  try {
    problem = JSON.parse(text) as ProblemBody;
  } catch {
    // Something between answered, and not the gateway.
  }
  const details = (problem.errors ?? []).map(
    ({ pointer, detail }) => `${pointer === '' ? '' : `${pointer.slice(1)}: `}${detail}`,
  );
  const reason = details.length === 0 ? (problem.detail ?? `the answer was ${status}`) : details.join('\n');
  const hint = status === 401 ? '; set ROSETTAMQ_API_KEY or give --api-key-file' : '';
  return new Failure(reason + hint, status === 404 ? EXIT_NO : undefined);
}

/** An address or filter in a path: its slashes stay. */
export function pathOf(address: string): string {
  return address.split('/').map(encodeURIComponent).join('/');
}
