/**
 * One line in the log for each change that somebody asked for over the HTTP API: who, what, and what became of it. Bodies
 * are not in it, so no secret is. Called by `server.ts` when a request was answered, or nobody was left to answer.
 */

import type { Logger } from '../host.ts';
import { abilityFor, type Caller, isProbe } from './roles.ts';

interface AnsweredRequest {
  readonly method: string;
  readonly url: string;
  readonly ip: string;
  readonly query: unknown;
  readonly routeOptions: { readonly url?: string | undefined };
}

export function auditChange(logger: Logger, caller: Caller, request: AnsweredRequest, status: number): void {
  const { method, url, ip, query, routeOptions } = request;
  const needed = abilityFor(method, routeOptions.url);
  if (needed !== 'operate' && needed !== 'administer') return;
  if (isProbe(routeOptions.url)) return;
  if ((query as { readonly dryRun?: unknown } | null)?.dryRun === true) return;
  const details = { who: caller.name, role: caller.role, method, path: url, status, remoteAddress: ip };
  logger.info(details, status < 400 ? 'changed over the HTTP API' : 'a change over the HTTP API was refused');
}
