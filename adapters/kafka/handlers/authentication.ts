/**
 * SASL with the mechanism PLAIN (RFC 4616), for clients that send credentials: SaslHandshake chooses, then
 * SaslAuthenticate carries one token, `authorization id NUL user NUL password`. Tokens outside of Kafka's frames,
 * which version 0 of the handshake leads to, are not taken.
 */

import type { Call } from '../call.ts';
import { saslAuthenticateApi, saslHandshakeApi } from '../codec/discovery-apis.ts';
import { ERRORS } from '../errors.ts';
import { defineEndpoint } from './endpoint.ts';

const MECHANISM = 'PLAIN';

export const saslHandshake = defineEndpoint(saslHandshakeApi, ({ mechanism }, call) => {
  // Who a client is does not change while it is connected.
  if (call.client.isAuthenticated) {
    return { errorCode: ERRORS.ILLEGAL_SASL_STATE.code, mechanisms: [MECHANISM] };
  }
  if (call.version === 0) return { errorCode: ERRORS.UNSUPPORTED_VERSION.code, mechanisms: [MECHANISM] };
  if (mechanism !== MECHANISM) {
    return { errorCode: ERRORS.UNSUPPORTED_SASL_MECHANISM.code, mechanisms: [MECHANISM] };
  }
  call.client.saslMechanism = mechanism;
  return { errorCode: ERRORS.NONE.code, mechanisms: [MECHANISM] };
});

export const saslAuthenticate = defineEndpoint(saslAuthenticateApi, async ({ authBytes }, call) => {
  const { client } = call;
  if (client.saslMechanism === null) return refusal('ILLEGAL_SASL_STATE');
  client.saslMechanism = null;
  const credentials = credentialsFromToken(authBytes);
  if (credentials === null) return rejection(call);
  const principal = await call.services.authenticator.authenticate(
    { kind: 'password', ...credentials },
    client.origin,
  );
  if (principal === null) return rejection(call);
  client.authenticated(principal);
  return { errorCode: ERRORS.NONE.code, errorMessage: null };
});

/** As Kafka does: one guess for each connection. */
function rejection(call: Call) {
  call.client.rejected();
  return refusal('SASL_AUTHENTICATION_FAILED');
}

function refusal(name: 'ILLEGAL_SASL_STATE' | 'SASL_AUTHENTICATION_FAILED') {
  return { errorCode: ERRORS[name].code, errorMessage: ERRORS[name].text };
}

function credentialsFromToken(token: Buffer): { readonly user: string; readonly password: Buffer } | null {
  const first = token.indexOf(0);
  const second = token.indexOf(0, first + 1);
  if (first < 0 || second < 0 || token.indexOf(0, second + 1) >= 0) return null;
  const user = token.toString('utf8', first + 1, second);
  const authorizedAs = token.toString('utf8', 0, first);
  if (user === '' || (authorizedAs !== '' && authorizedAs !== user)) return null;
  return { user, password: token.subarray(second + 1) };
}
