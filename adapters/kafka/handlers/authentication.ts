/**
 * SASL for clients that send credentials: SaslHandshake chooses a mechanism, then SaslAuthenticate carries its messages,
 * of which PLAIN (RFC 4616) has one, `authorization id NUL user NUL password`, and SCRAM (RFC 5802) two. The mechanisms
 * besides PLAIN are the host's. Tokens outside of Kafka's frames, which version 0 of the handshake leads to, are not
 * taken.
 */

import { isUtf8 } from 'node:buffer';
import type { Principal } from '../../../src/core/index.ts';
import type { SaslStep } from '../../../src/host.ts';
import type { Call } from '../call.ts';
import { saslAuthenticateApi, saslHandshakeApi } from '../codec/discovery-apis.ts';
import { ERRORS } from '../errors.ts';
import type { SaslRun } from '../services.ts';
import { defineEndpoint } from './endpoint.ts';

const PLAIN = 'PLAIN';
const NOTHING = new Uint8Array(0);
const REFUSED: SaslStep = { outcome: 'refused' };

export const saslHandshake = defineEndpoint(saslHandshakeApi, ({ mechanism }, call) => {
  const { authenticator } = call.services;
  const mechanisms = [PLAIN, ...authenticator.mechanisms];
  // Who a client is does not change while it is connected, nor the mechanism half-way.
  if (call.client.isAuthenticated || call.client.sasl?.hasBegun === true) {
    return { errorCode: ERRORS.ILLEGAL_SASL_STATE.code, mechanisms };
  }
  if (call.version === 0) return { errorCode: ERRORS.UNSUPPORTED_VERSION.code, mechanisms };
  const exchange = mechanism === PLAIN ? null : authenticator.begin(mechanism, call.client.origin);
  if (mechanism !== PLAIN && exchange === null) {
    return { errorCode: ERRORS.UNSUPPORTED_SASL_MECHANISM.code, mechanisms };
  }
  call.client.sasl = { exchange, hasBegun: false };
  return { errorCode: ERRORS.NONE.code, mechanisms };
});

export const saslAuthenticate = defineEndpoint(saslAuthenticateApi, async ({ authBytes }, call) => {
  const { client } = call;
  const { sasl } = client;
  if (sasl === null) return refusal('ILLEGAL_SASL_STATE');
  // Nothing else begins on this connection while this waits.
  client.sasl = null;
  const step = await takeToken(sasl, authBytes, call);
  if (step.outcome === 'refused') {
    // As Kafka does: one guess for each connection.
    client.rejected();
    return refusal('SASL_AUTHENTICATION_FAILED');
  }
  if (step.outcome === 'accepted') client.authenticated(step.principal);
  else client.sasl = { ...sasl, hasBegun: true };
  return { errorCode: ERRORS.NONE.code, errorMessage: null, authBytes: Buffer.from(step.message) };
});

async function takeToken({ exchange }: SaslRun, token: Buffer, call: Call): Promise<SaslStep> {
  if (exchange !== null) return exchange.step(token);
  const credentials = credentialsFromToken(token);
  if (credentials === null) return REFUSED;
  const principal: Principal | null = await call.services.authenticator.authenticate(
    { kind: 'password', ...credentials },
    call.client.origin,
  );
  return principal === null ? REFUSED : { outcome: 'accepted', message: NOTHING, principal };
}

function refusal(name: 'ILLEGAL_SASL_STATE' | 'SASL_AUTHENTICATION_FAILED') {
  return { errorCode: ERRORS[name].code, errorMessage: ERRORS[name].text };
}

function credentialsFromToken(token: Buffer): { readonly user: string; readonly password: Buffer } | null {
  const first = token.indexOf(0);
  const second = token.indexOf(0, first + 1);
  if (first < 0 || second < 0 || token.indexOf(0, second + 1) >= 0) return null;
  if (!isUtf8(token.subarray(0, second))) return null;
  const user = token.toString('utf8', first + 1, second);
  const authorizedAs = token.toString('utf8', 0, first);
  if (user === '' || (authorizedAs !== '' && authorizedAs !== user)) return null;
  return { user, password: token.subarray(second + 1) };
}
