/**
 * What an operator says in the same words about outside brokers of AMQP 0-9-1 and of AMQP 1.0. The settings of the two drivers
 * are made with it. Nothing here loads a client library.
 */

import { type OutsideTls, type Static, Type } from '../../src/outside.ts';

const PORT = 5672;
const TLS_PORT = 5671;

export const host = Type.String({
  minLength: 1,
  maxLength: 255,
  default: 'localhost',
  description: 'Name or address of the broker.',
});

export const port = Type.Integer({
  minimum: 0,
  maximum: 65_535,
  default: 0,
  description: `Its port; 0 is ${PORT}, and ${TLS_PORT} with TLS.`,
});

/** The port of a broker of which none is told. */
export const usualPort = ({ tls }: { readonly tls: OutsideTls }): number => (tls.enabled ? TLS_PORT : PORT);

/** As `host:port`, that of IPv6 in brackets. */
export const textOfAddress = (host: string, port: number): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`;

/** The settings of a connection as a driver gets them, secrets as text. */
export type WithSecrets<T extends ReturnType<typeof Type.Object>> = Omit<Static<T>, 'password' | 'tls'> & {
  readonly password?: string;
  readonly tls: OutsideTls;
};

/** `description`: what counts, and what becomes of a larger one. */
export const messageBytesMax = (description: string) =>
  Type.Integer({ minimum: 1024, maximum: 268_435_456, default: 16_777_216, description });

/** `held`: how the broker is held back, and how much may come beyond. */
export const inFlightBytesMax = (held: string) =>
  Type.Integer({
    minimum: 65_536,
    maximum: 4_294_967_296,
    default: 67_108_864,
    description: `Bytes of messages that came and are not stored yet. ${held}`,
  });
