/**
 * Messages as the HTTP API takes and shows them, as TypeBox schemas. Read by `explain-routes.ts`, `message-routes.ts`
 * and `retained-routes.ts`; made and read by the mapping that `options.ts` hands over.
 */

import Type, { type Static } from 'typebox';

/** What may be said of a message that is tried or published, beside its address. */
export const messageFields = {
  body: Type.Optional(
    Type.Union([Type.String(), Type.Null()], {
      description: 'Text; null is no body, which some tell from empty.',
    }),
  ),
  bodyBase64: Type.Optional(Type.String({ description: 'Bytes, instead of `body`.' })),
  key: Type.Optional(Type.String({ description: 'The record’s key, where the protocol has keys.' })),
  reliability: Type.Optional(
    Type.Union([Type.Literal(0), Type.Literal(1), Type.Literal(2)], {
      description: '0 at most once, 1 at least once, 2 exactly once.',
    }),
  ),
  retain: Type.Optional(Type.Boolean()),
  priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 255 })),
  expiryMs: Type.Optional(Type.Integer({ minimum: 1, maximum: 4_294_967_295_000 })),
  properties: Type.Optional(
    Type.Record(Type.String(), Type.Unknown(), {
      description:
        'contentType, contentEncoding, textBody, correlation, replyTo, messageId, timestampMs, type, subject, ' +
        'appId, groupId, groupSequence, replyToGroupId.',
    }),
  ),
  headers: Type.Optional(
    Type.Array(
      Type.Object(
        {
          name: Type.String(),
          kind: Type.Optional(
            Type.String({
              description: 'string, bytes (base64), bool, i8 to u64, f32, f64, timestamp, list, map …',
            }),
          ),
          value: Type.Optional(Type.Unknown()),
        },
        { additionalProperties: false },
      ),
      { maxItems: 1_000 },
    ),
  ),
};

const typedValue = Type.Unknown({
  description: 'JSON; what JSON has no form for is an object such as {"$i64": "7"}.',
});

/** A message that is shown. What its publisher did not say is not there. */
export const messageSchema = Type.Object({
  address: Type.String(),
  body: Type.Optional(
    Type.Union([Type.String(), Type.Null()], { description: 'Text, where the body is valid UTF-8.' }),
  ),
  bodyBase64: Type.Optional(Type.String({ description: 'Bytes, where it is not.' })),
  key: Type.Optional(Type.String()),
  keyBase64: Type.Optional(Type.String()),
  reliability: Type.Integer({ description: '0 at most once, 1 at least once, 2 exactly once.' }),
  retain: Type.Boolean(),
  priority: Type.Optional(Type.Integer()),
  timestampMs: Type.Number({ description: 'Milliseconds since 1970 of its arrival.' }),
  expiresAtMs: Type.Optional(Type.Number({ description: 'Milliseconds since 1970.' })),
  properties: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  headers: Type.Optional(Type.Array(Type.Object({ name: Type.String(), value: typedValue }))),
});

export type MessageView = Static<typeof messageSchema>;
