/**
 * Parts of a connection's schema that all drivers share: secrets and TLS. A secret is written as text, or as where it
 * is read each time the bridge connects; it is never shown. The registry hands drivers plain text.
 */

import type { ConnectionOptions } from 'node:tls';
import { type Static, Type } from './schema-types.ts';

/** Text, `{env: NAME}` or `{file: PATH}`; `{kept: true}`, as it is shown, leaves the one that is there. */
export function secretSetting(description: string) {
  return Type.Union(
    [
      Type.String(),
      Type.Object({ env: Type.String({ minLength: 1 }) }, { additionalProperties: false }),
      Type.Object({ file: Type.String({ minLength: 1 }) }, { additionalProperties: false }),
      Type.Object({ kept: Type.Literal(true) }, { additionalProperties: false }),
    ],
    { description, secret: true },
  );
}

export const outsideTlsSettings = Type.Object(
  {
    enabled: Type.Boolean({ default: false, description: 'Whether the connection is TLS.' }),
    ca: Type.Optional(
      secretSetting(
        'Authorities that the other side is verified against, PEM; those of the system unless given.',
      ),
    ),
    certificate: Type.Optional(secretSetting('Certificate of this side, PEM with its chain.')),
    key: Type.Optional(secretSetting('Private key of this side, PEM.')),
    serverName: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'The name that the other side has to prove; the host unless given.',
      }),
    ),
    verify: Type.Boolean({
      default: true,
      description: 'Whether the other side has to prove its name; false is for trials only.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'TLS towards the other side.' },
);

/** As the drivers get it, secrets as text. */
export interface OutsideTls extends Omit<Static<typeof outsideTlsSettings>, 'ca' | 'certificate' | 'key'> {
  readonly ca?: string;
  readonly certificate?: string;
  readonly key?: string;
}

/** For `node:tls`; null where the connection has none. */
export function tlsOptionsOf(tls: OutsideTls): ConnectionOptions | null {
  if (!tls.enabled) return null;
  return {
    rejectUnauthorized: tls.verify,
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    ...(tls.certificate === undefined ? {} : { cert: tls.certificate }),
    ...(tls.key === undefined ? {} : { key: tls.key }),
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
  };
}
