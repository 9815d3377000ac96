/** Settings of signed tokens (JWT), section `auth.jwt` of the configuration file. Read by `jwt.ts` and `jwt-keys.ts`. */

import { type Static, Type } from '../host.ts';

/** RFC 7518 3.1 and RFC 8037. `none` is no entry of it, and can be none of the settings. */
export const JWT_ALGORITHMS = [
  'HS256',
  'HS384',
  'HS512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const;
export type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number];

const filePath = () => Type.String({ minLength: 1, maxLength: 4_096 });
const claimName = (settings: { default: string; description: string }) =>
  Type.String({ ...settings, maxLength: 200 });

export const jwtSettings = Type.Object(
  {
    enabled: Type.Boolean({
      default: false,
      description: 'Let in clients that send a signed token as their password.',
    }),
    algorithms: Type.Array(
      Type.Unsafe<JwtAlgorithm>(Type.Union(JWT_ALGORITHMS.map((name) => Type.Literal(name)))),
      {
        default: ['HS256', 'RS256', 'PS256', 'ES256', 'EdDSA'],
        minItems: 1,
        maxItems: 13,
        description: `Signatures that are taken, of ${JWT_ALGORITHMS.join(', ')}. Each needs a key of its own kind below.`,
      },
    ),
    secrets: Type.Array(Type.String({ minLength: 32, maxLength: 4_096 }), {
      default: [],
      maxItems: 10,
      writeOnly: true,
      description:
        'Shared secrets for HS256, HS384 and HS512: text of at least 32, 48 and 64 bytes, or "base64:" and the bytes ' +
        'in base64. Several, so that they can be changed one after the other.',
    }),
    publicKeyFiles: Type.Array(filePath(), {
      default: [],
      maxItems: 10,
      description: 'PEM files with public keys or certificates. Read again when they change.',
    }),
    jwksFile: Type.String({
      default: '',
      maxLength: 4_096,
      description:
        'File with a JSON Web Key Set of public keys; none where empty. Read again when it changes.',
    }),
    jwksUrl: Type.String({
      default: '',
      pattern: '^(https?://[^/?#@\\s]+([/?#]\\S*)?)?$',
      maxLength: 2_048,
      description:
        'Address of a JSON Web Key Set, http or https, without user and password in it; none where empty. Whoever ' +
        'answers there decides who is let in: use https beyond networks that you trust.',
    }),
    jwksTimeoutMs: Type.Integer({
      default: 5_000,
      minimum: 100,
      maximum: 60_000,
      description: 'Time that jwksUrl has to answer. Clients cannot be let in by it where it does not.',
    }),
    jwksCooldownMs: Type.Integer({
      default: 30_000,
      minimum: 1_000,
      maximum: 3_600_000,
      description:
        'Time between two questions to jwksUrl, however many clients show tokens with keys that are not known.',
    }),
    jwksMaxAgeMs: Type.Integer({
      default: 600_000,
      minimum: 1_000,
      maximum: 86_400_000,
      description: 'Time after which the keys of jwksUrl are asked for again.',
    }),
    jwksBytesMax: Type.Integer({
      default: 1_048_576,
      minimum: 1_024,
      maximum: 16_777_216,
      description: 'Largest answer of jwksUrl.',
    }),
    issuers: Type.Array(Type.String({ minLength: 1, maxLength: 2_048 }), {
      default: [],
      maxItems: 100,
      description: 'The claim iss must be one of these. Where the list is empty it is not looked at.',
    }),
    audiences: Type.Array(Type.String({ minLength: 1, maxLength: 2_048 }), {
      default: [],
      maxItems: 100,
      description:
        'The claim aud must name one of these. Where the list is empty it is not looked at, and a token that the ' +
        'issuer meant for another service is let in as well.',
    }),
    clockToleranceMs: Type.Integer({
      default: 5_000,
      minimum: 0,
      maximum: 600_000,
      description: 'How far the clocks of issuer and gateway may differ, when exp and nbf are looked at.',
    }),
    requireExpiry: Type.Boolean({
      default: true,
      description: 'Refuse tokens without the claim exp, which would be good for ever.',
    }),
    tokenBytesMax: Type.Integer({
      default: 16_384,
      minimum: 256,
      maximum: 65_535,
      description: 'Largest token; a longer password is none.',
    }),
    userClaim: claimName({
      default: 'sub',
      description:
        'The claim with the user name, for example sub, preferred_username or, inside of another, ext.user.',
    }),
    userName: Type.Union([Type.Literal('equal'), Type.Literal('ignored')], {
      default: 'equal',
      description:
        'The user name that the client sends beside its token: equal (empty, or the same as in the token) or ignored.',
    }),
    clientIdClaim: claimName({
      default: '',
      description:
        'The claim that a client id must be equal to, where the token has it; none is looked at where empty.',
    }),
    groupsClaim: claimName({
      default: 'groups',
      description:
        'The claim with the groups: a list, or text with spaces between; realm_access.roles is a claim inside of ' +
        'another. No groups where it is empty or the token has none.',
    }),
  },
  {
    additionalProperties: false,
    default: {},
    description:
      'Signed tokens (JWT). The token stands where the password would; the connection ends when it expires.',
  },
);

export type JwtSettings = Static<typeof jwtSettings>;
