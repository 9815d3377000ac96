/**
 * Who may call the HTTP API: holders of a key, and on loopback everybody on the machine where no key is set. On
 * loopback the Host header must name this machine, or a web page could call through a name that it points here
 * (DNS rebinding). Keys are compared as hashes, each with all, in constant time. Asked by a hook in `index.ts`
 * before anything of a request is read.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { type Problem, problem } from './problems.ts';
import type { HttpSettings } from './settings.ts';

const HASH_PREFIX = 'sha256:';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether an IP address reaches only this machine. */
export function isLoopback(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && loopback.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

export class AccessCheck {
  readonly #keyHashes: readonly Buffer[];
  readonly #hosts: ReadonlySet<string> | null;

  /** `boundTo` is the address that is listened on. */
  constructor(settings: HttpSettings, boundTo: string) {
    this.#keyHashes = settings.apiKeys.map((key) =>
      key.startsWith(HASH_PREFIX) ? Buffer.from(key.slice(HASH_PREFIX.length), 'hex') : hashKey(key),
    );
    this.#hosts = isLoopback(boundTo)
      ? new Set(settings.allowedHosts.map((host) => host.toLowerCase()))
      : null;
    if (this.#hosts === null && this.#keyHashes.length === 0) {
      throw new Error(
        `http.host ${boundTo} is reachable from other machines: set at least one key in http.apiKeys, ` +
          'or listen on 127.0.0.1',
      );
    }
  }

  /** Null where the request may go on. `open`: the path needs no key. */
  check(headers: IncomingHttpHeaders, open: boolean): Problem | null {
    if (this.#hosts !== null && !this.#isOwnHost(headers.host)) {
      const detail =
        'on loopback the Host header must be a loopback address, localhost or one of http.allowedHosts';
      return problem('host-not-allowed', 'header', '/host', detail);
    }
    if (open || this.#keyHashes.length === 0) return null;
    const shown = keyFromHeaders(headers);
    if (shown !== null && this.#knows(shown)) return null;
    const detail =
      shown === null ? 'send Authorization: Bearer KEY, or X-API-Key: KEY' : 'this key is not known';
    const pointer = headers['x-api-key'] === undefined ? '/authorization' : '/x-api-key';
    return problem('unauthorized', 'header', pointer, detail, { 'www-authenticate': 'Bearer' });
  }

  #isOwnHost(header: string | undefined): boolean {
    const host = hostFromHeader(header ?? '');
    return host === 'localhost' || isLoopback(host) || this.#hosts!.has(host);
  }

  /** Looks at every hash whether or not one fits, so that time tells nothing. */
  #knows(key: string): boolean {
    const hash = hashKey(key);
    let known = 0;
    for (const each of this.#keyHashes) known |= timingSafeEqual(each, hash) ? 1 : 0;
    return known === 1;
  }
}

function hashKey(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

function keyFromHeaders(headers: IncomingHttpHeaders): string | null {
  const own = headers['x-api-key'];
  if (typeof own === 'string') return own;
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '');
  return bearer?.[1] ?? null;
}

/** The name in a Host header, without port and brackets. */
function hostFromHeader(header: string): string {
  const parts = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(header);
  return (parts?.[1] ?? parts?.[2] ?? '').toLowerCase();
}
