/**
 * What the errors of sockets and TLS mean for a link, by the codes that Node.js gives them: one table for all drivers and for
 * the state of a bridge. Part of door 3 (`outside.ts`). Pure.
 */

const UNREACHABLE =
  /^(ECONNREFUSED|EHOSTUNREACH|EHOSTDOWN|ENETUNREACH|ENETDOWN|EADDRNOTAVAIL|EAI_[A-Z]+|ENOTFOUND|ENODATA|ENOENT)$/;
const CLOSED = /^(ECONNRESET|ECONNABORTED|EPIPE)$/;
const TLS =
  /^(ERR_(TLS|SSL|OSSL|CRYPTO)_|EPROTO$|CERT_|CRL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_|INVALID_(CA|PURPOSE)$)/;

/** Null for a code that says nothing of the kind. */
export function failureOfCode(code: unknown): 'unreachable' | 'closed' | 'timeout' | 'tls' | null {
  if (typeof code !== 'string') return null;
  if (UNREACHABLE.test(code)) return 'unreachable';
  if (CLOSED.test(code)) return 'closed';
  if (code === 'ETIMEDOUT' || code === 'ABORT_ERR') return 'timeout';
  return TLS.test(code) ? 'tls' : null;
}
