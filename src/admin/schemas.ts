/**
 * Shapes of what the HTTP API answers, as TypeBox schemas: the source of the OpenAPI document and of the types of
 * the functions that show each object. Requests have their schemas beside their routes.
 */

import Type, { type Static } from 'typebox';

const count = (description: string) => Type.Integer({ minimum: 0, description });
const anyObject = (description: string) => Type.Record(Type.String(), Type.Unknown(), { description });

const problemSchema = Type.Object(
  {
    type: Type.String({ description: '`urn:rosettamq:problem:` and the code.' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'What is wrong, for people.' }),
    instance: Type.String({ description: 'The path of the request.' }),
    code: Type.String({ description: 'One of a closed list.' }),
    in: Type.String({ description: 'The part of the request that is meant: body, query, path or header.' }),
    pointer: Type.String({ description: 'JSON pointer to the field that is meant, in that part.' }),
    errors: Type.Array(Type.Object({ in: Type.String(), pointer: Type.String(), detail: Type.String() })),
  },
  { description: 'A problem (RFC 9457).' },
);

/** What every refusal looks like. */
export const problemResponse = {
  description: 'A problem (RFC 9457).',
  content: { 'application/problem+json': { schema: problemSchema } },
};

export const mappingCountersSchema = Type.Object(
  {
    in: count('What it was given; a message that leads to two targets counts twice.'),
    out: count('Handed on.'),
    filtered: count('Not taken: a condition does not hold, or it has been where it would go.'),
    failed: count('Refused to its publisher.'),
    dropped: Type.Record(Type.String(), Type.Integer(), { description: 'By reason.' }),
    deadLettered: count('Sent to the queue for dead letters.'),
    inFlight: count('Made and not handed on yet.'),
  },
  {
    description:
      'Since the start of the gateway: in = out + filtered + failed + all of dropped + deadLettered + inFlight.',
  },
);

export const ruleWarningSchema = Type.Object({
  mapping: Type.String(),
  pointer: Type.String({ description: 'JSON pointer into its definition.' }),
  detail: Type.String(),
});

export const mappingSchema = Type.Object({
  name: Type.String(),
  definition: Type.Unknown({ description: 'As it was put.' }),
  pattern: Type.String({ description: 'The addresses that it takes, with + for one level and # for many.' }),
  stream: Type.Union([Type.String(), Type.Null()], {
    description: 'The first stream that it leads to; null: none.',
  }),
  partitions: Type.Union([Type.Integer(), Type.Null()]),
  targets: Type.Array(Type.String(), { description: 'core, queue:NAME and stream:NAME.' }),
  bothWays: Type.Boolean({ description: 'A record’s key leads back to its address.' }),
  oneWayReason: Type.Union([Type.String(), Type.Null()], { description: 'Why it does not.' }),
  inverse: Type.Union([anyObject('A definition.'), Type.Null()], {
    description:
      'The mapping that would lead messages of its address back, where its topic tells every capture.',
  }),
  counters: mappingCountersSchema,
});

export const mappingPutSchema = Type.Object({
  ...mappingSchema.properties,
  warnings: Type.Array(ruleWarningSchema, { description: 'Mappings that compete with it for addresses.' }),
});

export const queueSchema = Type.Object({
  name: Type.String(),
  durable: Type.Boolean(),
  autoDelete: Type.Boolean(),
  exclusive: Type.Boolean({ description: 'It belongs to one connection and goes with it.' }),
  readyCount: count('Messages waiting for a consumer.'),
  unsettledCount: count('Messages handed out and not settled.'),
  consumerCount: count('Consumers.'),
  messagesMax: Type.Integer({ description: '-1: no bound.' }),
  bytesMax: Type.Integer({ description: '-1: no bound.' }),
  overflow: Type.String(),
  messageTtlMs: Type.Integer({ description: '-1: for ever.' }),
  expiresMs: Type.Integer({ description: '-1: never.' }),
  deadLetter: Type.Union([
    Type.Object({ exchange: Type.String(), key: Type.Union([Type.String(), Type.Null()]) }),
    Type.Null(),
  ]),
  arguments: anyObject('As the declaring client gave them.'),
});

export const streamSchema = Type.Object({
  name: Type.String(),
  id: Type.String({ description: 'Given at creation, never changed: 32 hexadecimal digits.' }),
  captures: Type.Array(Type.String(), { description: 'Patterns that it takes without a mapping.' }),
  mappings: Type.Array(Type.String(), { description: 'Mappings that lead to it.' }),
  retentionBytes: Type.Number({ description: '-1: no bound.' }),
  retentionMs: Type.Number({ description: '-1: no bound.' }),
  segmentBytes: Type.Number(),
  settings: Type.Record(Type.String(), Type.String()),
  partitions: Type.Array(
    Type.Object({
      index: Type.Integer(),
      startOffset: Type.Number({ description: 'The oldest record’s.' }),
      endOffset: Type.Number({ description: 'The next record’s.' }),
      sizeBytes: Type.Number(),
    }),
  ),
});

export const exchangeSchema = Type.Object({
  name: Type.String(),
  type: Type.String(),
  durable: Type.Boolean(),
  autoDelete: Type.Boolean(),
  internal: Type.Boolean(),
  alternate: Type.Union([Type.String(), Type.Null()]),
  arguments: anyObject('As the declaring client gave them.'),
});

export const bindingSchema = Type.Object({
  id: Type.String({ description: 'A hash of what it says.' }),
  exchange: Type.String(),
  target: Type.Object({ kind: Type.String(), name: Type.String() }),
  key: Type.String({ description: 'In address form: levels separated by /.' }),
  match: Type.Union([
    Type.Object({ mode: Type.String(), headers: anyObject('Headers to compare.') }),
    Type.Null(),
  ]),
  arguments: anyObject('As the binding client gave them.'),
});

const subscriptionSchema = Type.Object({
  pattern: Type.String({ description: 'With + for one level and # for many.' }),
  reliability: Type.Integer({ description: '0 at most once, 1 at least once, 2 exactly once.' }),
  noLocal: Type.Boolean(),
  keepRetain: Type.Boolean(),
  id: Type.Integer({ description: 'The subscriber’s number for it; 0: none.' }),
});

export const sessionSchema = Type.Object({
  id: Type.String(),
  durable: Type.Boolean({ description: 'It outlives its connection.' }),
  attached: Type.Boolean({ description: 'Its client is connected.' }),
  queuedCount: count('Messages waiting for the client.'),
  unsettledCount: count('Messages sent and not acknowledged.'),
  subscriptionCount: count('Subscriptions.'),
});

export const sessionDetailSchema = Type.Object({
  ...sessionSchema.properties,
  subscriptions: Type.Array(subscriptionSchema, { description: 'At most 1,000 of them.' }),
});

export const clientSchema = Type.Object({
  id: Type.Integer({ description: 'Of the connection: a client that comes again has another.' }),
  listener: Type.String(),
  protocol: Type.String(),
  clientId: Type.String(),
  user: Type.String(),
  remoteAddress: Type.String(),
  remotePort: Type.Integer(),
  connectedAt: Type.String({ description: 'ISO 8601, UTC.' }),
  details: anyObject('What the protocol says beside.'),
});

export const matchSchema = Type.Object({
  kind: Type.String({ description: 'session, queue, stream or retained.' }),
  name: Type.String(),
  patterns: Type.Array(Type.String()),
});

export const nameSchema = Type.Object({
  name: Type.Record(Type.String(), Type.String(), { description: 'In the protocol’s own words.' }),
  reason: Type.String(),
});

export const placementSchema = Type.Object({
  stream: Type.String(),
  key: Type.Union([Type.String(), Type.Null()], {
    description: 'The record’s key; base64 where it is not UTF-8.',
  }),
  mapping: Type.Union([Type.String(), Type.Null()], {
    description: 'The mapping that leads there; null where the stream takes the address by itself.',
  }),
  reason: Type.String(),
});

export type MappingView = Static<typeof mappingSchema>;
export type QueueView = Static<typeof queueSchema>;
export type StreamView = Static<typeof streamSchema>;
export type ExchangeView = Static<typeof exchangeSchema>;
export type BindingView = Static<typeof bindingSchema>;
export type SessionView = Static<typeof sessionSchema>;
export type SessionDetailView = Static<typeof sessionDetailSchema>;
export type ClientView = Static<typeof clientSchema>;
