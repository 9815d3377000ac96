/**
 * Explanations: `/v1/explain` says what every protocol calls an address and what it reaches; `/v1/mappings:test`
 * takes a message and says what every protocol's consumers would get of it, with the stored mappings or with others
 * that are only tried. Nothing is published, stored or changed.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import Type, { type Static } from 'typebox';
import { type AnyRule, CoreError, isRouting, type MappingRule, type Message } from '../core/index.ts';
import { outputSchema, outputsOf } from './mapping-trial.ts';
import { messageFields } from './message-schema.ts';
import type { AdminOptions, MessageInput, Placement, ProtocolName, ProtocolView } from './options.ts';
import { type ProblemPlace, problem, problemFromCore } from './problems.ts';
import { matchSchema, nameSchema, placementSchema, problemResponse } from './schemas.ts';
import { type App, escapePointer } from './validation.ts';

/** The word for the address space itself, where a request may name a protocol. */
const NO_PROTOCOL = 'address';
const ADDRESS_MAX = 65_535;
/** Destinations shown of one address. */
const DESTINATIONS_SHOWN_MAX = 1_000;

const protocolField = (protocols: readonly ProtocolView[]) =>
  Type.String({
    default: NO_PROTOCOL,
    description: `Whose name \`address\` is: ${NO_PROTOCOL} (as the gateway writes it), ${protocols
      .map((view) => view.protocol)
      .join(', ')}.`,
  });

const nameFields = {
  address: Type.String({
    minLength: 1,
    maxLength: ADDRESS_MAX,
    description: 'The name: a topic, a routing key or an address.',
  }),
  exchange: Type.Optional(
    Type.String({
      maxLength: 255,
      description: 'Where the protocol has exchanges; by default the root of all.',
    }),
  ),
};

const explanation = Type.Object({
  address: Type.String(),
  names: Type.Record(Type.String(), nameSchema, { description: 'By protocol.' }),
  placements: Type.Array(placementSchema, { description: 'Streams that keep it, and under which key.' }),
  destinations: Type.Array(matchSchema, { description: 'What gets a copy now, the first 1,000.' }),
  destinationCount: Type.Integer({ minimum: 0 }),
});

const outcome = Type.Object({
  address: Type.String(),
  placements: Type.Array(placementSchema),
  destinations: Type.Array(matchSchema),
  destinationCount: Type.Integer({ minimum: 0 }),
  outputs: Type.Array(outputSchema, { description: 'What every mapping that matches would do, and why.' }),
  views: Type.Record(
    Type.String(),
    Type.Object({
      name: Type.Record(Type.String(), Type.String()),
      reason: Type.String(),
      message: Type.Unknown({ description: 'What its consumer would get.' }),
    }),
    { description: 'By protocol.' },
  ),
});

type Named = { readonly protocol: string; readonly address: string; readonly exchange?: string };
type Rules = readonly (readonly [name: string, rule: AnyRule])[];
type Reasoned = Placement & { readonly reason: string };

export function addExplainRoutes(app: App, options: AdminOptions): void {
  const protocol = protocolField(options.protocols);

  app.get(
    '/v1/explain',
    {
      schema: {
        summary: 'What does every protocol call this, and what does it reach?',
        tags: ['explain'],
        querystring: Type.Object(
          { protocol, ...nameFields, key: messageFields.key },
          { additionalProperties: false },
        ),
        response: { 200: explanation, '4xx': problemResponse },
      },
    },
    (request) => {
      const { key, ...named } = request.query;
      const rules = storedRules(options);
      const origin = findOrigin(options, named, key, rules, 'query', '');
      const names: Record<string, ProtocolName> = {};
      for (const view of options.protocols) names[view.protocol] = view.nameFromAddress(origin.address);
      return {
        address: origin.address,
        names,
        placements: placementsOf(options, origin, rules).map(jsonFromPlacement),
        ...destinationsOf(options, origin.address),
      };
    },
  );

  const testBody = Type.Object(
    {
      message: Type.Object({ protocol, ...nameFields, ...messageFields }, { additionalProperties: false }),
      user: Type.Optional(Type.String({ maxLength: 1_024, description: 'Who publishes it.' })),
      clientId: Type.Optional(
        Type.String({ maxLength: 65_535, description: 'What its client calls itself.' }),
      ),
      mappings: Type.Optional(
        Type.Record(Type.String(), Type.Unknown(), {
          description: 'Definitions by name, tried instead of the stored mappings.',
        }),
      ),
    },
    { additionalProperties: false },
  );

  app.post(
    '/v1/mappings::test',
    {
      schema: {
        summary: 'What would every protocol get of this message?',
        tags: ['mappings'],
        body: testBody,
        response: { 200: outcome, '4xx': problemResponse },
      },
    },
    (request) => testMessage(options, request.body as Static<typeof testBody>),
  );
}

function testMessage(
  options: AdminOptions,
  input: {
    readonly message: Named & MessageInput;
    readonly user?: string;
    readonly clientId?: string;
    readonly mappings?: Readonly<Record<string, unknown>>;
  },
): Static<typeof outcome> {
  const rules = input.mappings === undefined ? storedRules(options) : triedRules(options, input.mappings);
  const { protocol, address: name, exchange, ...fields } = input.message;
  const named = exchange === undefined ? { protocol, address: name } : { protocol, address: name, exchange };
  const origin = findOrigin(options, named, fields.key, rules, 'body', '/message');
  const nowMs = options.clock.nowMs();
  const message = received(options, origin, fields, nowMs);
  const placements = placementsOf(options, { ...origin, message }, rules);
  const views: Static<typeof outcome>['views'] = {};
  for (const view of options.protocols) {
    views[view.protocol] = {
      ...view.nameFromAddress(message.address),
      message: view.shown(message, placements, nowMs),
    };
  }
  return {
    address: message.address,
    placements: placements.map(jsonFromPlacement),
    ...destinationsOf(options, message.address),
    outputs: outputsOf(options, rules, message, {
      principal: { user: input.user ?? '', groups: [], clientId: input.clientId ?? '' },
      nowMs,
      writtenTo: origin.written?.stream ?? null,
    }),
    views,
  };
}

function received(options: AdminOptions, origin: Origin, fields: MessageInput, nowMs: number): Message {
  try {
    const message = options.messageFromJson(fields, origin.address, nowMs);
    return origin.view === null ? message : origin.view.received(message, nowMs);
  } catch (error) {
    if (error instanceof CoreError) throw problemFromCore(error, 'body', '/message');
    throw error;
  }
}

/** Where a message comes from: its address, and the stream that it was written to where it was. */
interface Origin {
  readonly view: ProtocolView | null;
  readonly address: string;
  readonly written: { readonly stream: string; readonly key: Uint8Array | null } | null;
  readonly message?: Message;
}

function findOrigin(
  options: AdminOptions,
  named: Named,
  key: string | undefined,
  rules: Rules,
  place: ProblemPlace,
  base: string,
): Origin {
  if (named.protocol === NO_PROTOCOL) return { view: null, address: named.address, written: null };
  const view = options.protocols.find((each) => each.protocol === named.protocol);
  if (view === undefined) {
    const known = [NO_PROTOCOL, ...options.protocols.map((each) => each.protocol)].join(', ');
    throw problem('invalid-request', place, `${base}/protocol`, `is none of ${known}`);
  }
  let address: string;
  try {
    address = view.addressFromName(named.address, named.exchange);
  } catch (error) {
    if (error instanceof CoreError) throw problemFromCore(error, place, base);
    throw error;
  }
  if (!view.readsStreams) return { view, address, written: null };
  const bytes = key === undefined ? null : Buffer.from(key);
  const written = { stream: named.address, key: bytes };
  for (const rule of rules.flatMap(([, each]): readonly MappingRule[] =>
    isRouting(each) ? each.inverses : [each],
  )) {
    if (rule.stream !== named.address) continue;
    const mapped = rule.addressOf(bytes);
    if (mapped !== null) return { view, address: mapped, written };
  }
  return { view, address, written };
}

function placementsOf(options: AdminOptions, origin: Origin, rules: Rules): Reasoned[] {
  const { address, written } = origin;
  const brought = origin.message?.key ?? null;
  const placements = new Map<string, Reasoned>();
  if (written !== null) {
    placements.set(written.stream, { ...written, rule: null, reason: 'it was written to this stream' });
  }
  for (const [name, rule] of rules) {
    if (isRouting(rule) || placements.has(rule.stream) || !rule.pattern.matches(address)) continue;
    if (rule.accepts?.(address) === false) continue;
    const reason = `mapping ${name} takes ${rule.pattern}`;
    const key = rule.keyOf(address) ?? brought;
    placements.set(rule.stream, { stream: rule.stream, key, rule: name, reason });
  }
  for (const { spec } of options.core.streams.list()) {
    const pattern = spec.captures.find((each) => each.matches(address));
    if (pattern === undefined || placements.has(spec.name)) continue;
    // A stream of many addresses keeps each of them in order.
    const key = brought ?? (pattern.literal === null ? Buffer.from(address) : null);
    placements.set(spec.name, { stream: spec.name, key, rule: null, reason: `the stream takes ${pattern}` });
  }
  return [...placements.values()];
}

function storedRules({ core }: AdminOptions): Rules {
  return Array.from(core.rules.list(), ([name, { rule }]) => [name, rule] as const);
}

function triedRules(options: AdminOptions, definitions: Readonly<Record<string, unknown>>): Rules {
  return Object.entries(definitions).map(([name, definition]) => {
    try {
      return [name, options.compileRule(definition)] as const;
    } catch (error) {
      if (error instanceof CoreError)
        throw problemFromCore(error, 'body', `/mappings/${escapePointer(name)}`);
      throw error;
    }
  });
}

function destinationsOf(
  { core }: AdminOptions,
  address: string,
): { destinations: Static<typeof matchSchema>[]; destinationCount: number } {
  const matches = core.explain(address);
  const destinations = matches
    .slice(0, DESTINATIONS_SHOWN_MAX)
    .map(({ kind, name, patterns }) => ({ kind, name, patterns: [...patterns] }));
  return { destinations, destinationCount: matches.length };
}

function jsonFromPlacement({ stream, key, rule, reason }: Reasoned): Static<typeof placementSchema> {
  const bytes = key === null ? null : Buffer.from(key);
  const text = bytes === null ? null : bytes.toString(isUtf8(bytes) ? 'utf8' : 'base64');
  return { stream, key: text, mapping: rule, reason };
}
