/**
 * What waits in queues, looked at, removed and sent back: made for dead letters, and good for every queue. A dead letter
 * goes back to the queue in which it first died, under the name that it had there, and to nobody else; that and its
 * removal here are one commit, so that it is neither lost nor doubled.
 */

import { Buffer } from 'node:buffer';
import Type, { type Static } from 'typebox';
import { BRIDGE_DEAD_LETTERS } from '../bridges/index.ts';
import {
  believedHeaders,
  type Core,
  DEAD_LETTER_ROOT,
  type Delivery,
  isHistory,
  isRouting,
  type Message,
  pastDeathsOf,
  type Queue,
  swapSeparators,
  type WaitingMessage,
  type WaitingPlace,
} from '../core/index.ts';
import { type MessageView, messageFields, messageSchema } from './message-schema.ts';
import { found, nameParams } from './object-names.ts';
import type { AdminOptions } from './options.ts';
import { pageOf, pageQuery, paginate } from './paging.ts';
import { changeQuery } from './preconditions.ts';
import { Problem, problem } from './problems.ts';
import { nothingAt, redrive, type WayBack, wayBack } from './redrive.ts';
import { problemResponse } from './schemas.ts';
import { whenStored } from './stored.ts';
import type { App } from './validation.ts';

/** Bytes of bodies on one page; a page has at least one message. */
const PAGE_BYTES = 4 * 1024 * 1024;
const REDRIVEN_MAX = 10_000;
const REDRIVEN_DEFAULT = 1_000;
/** Messages that stayed, of which a redrive tells why. */
const SKIPPED_SHOWN_MAX = 100;

const messageParams = Type.Object({
  ...nameParams.properties,
  offset: Type.Integer({
    minimum: Number.MIN_SAFE_INTEGER,
    maximum: Number.MAX_SAFE_INTEGER,
    description: 'Negative for a message that is not on the disk.',
  }),
});

const waitingSchema = Type.Object({
  offset: Type.Integer({ description: 'Its place in the queue; negative for what is not on the disk.' }),
  redelivered: Type.Boolean({ description: 'It was handed out before.' }),
  deaths: Type.Array(
    Type.Object({
      queue: Type.String({ description: 'Where it died; empty where a mapping or bridge gave it up.' }),
      mapping: Type.String({ description: 'The mapping that could not lead it on; empty elsewhere.' }),
      bridge: Type.String({ description: 'The bridge that gave it up; empty elsewhere.' }),
      reason: Type.String({
        description:
          'rejected, expired, maxlen or delivery_limit; of a mapping, or a bridge that leads in, one of the reasons that ' +
          'mappings count.',
      }),
      count: Type.Integer(),
      timeMs: Type.Number({ description: 'Milliseconds since 1970; 0: not known.' }),
      exchange: Type.String(),
      keys: Type.Array(Type.String()),
      note: Type.String({ description: 'What a consumer, or the mapping, said of it.' }),
    }),
    { description: 'Of a dead letter, newest first.' },
  ),
  message: messageSchema,
});

const deadLettersSchema = Type.Object({
  queue: Type.String(),
  readyCount: Type.Integer({ minimum: 0, description: 'Dead letters that wait.' }),
  sources: Type.Array(Type.String(), { description: 'Queues whose dead letters come here, at most 100.' }),
  mappings: Type.Array(Type.String(), { description: 'Mappings whose dead letters do, at most 100.' }),
  bridges: Type.Array(Type.String(), { description: 'Bridges whose dead letters do, at most 100.' }),
});
const SOURCES_SHOWN_MAX = 100;

const redrivenSchema = Type.Object({
  queue: Type.Union([Type.String(), Type.Null()], {
    description: 'Where it went; null: it was published again.',
  }),
  address: Type.String({ description: 'Under which it went there.' }),
});

const targetField = {
  queue: Type.Optional(
    Type.String({ minLength: 1, description: 'Another queue than the one in which it first died.' }),
  ),
};
const { body, bodyBase64, properties, headers } = messageFields;
const redriveOneFields = Type.Object(
  { ...targetField, body, bodyBase64, properties, headers },
  { additionalProperties: false, description: 'What is absent stays as it is.' },
);
const redriveFields = Type.Object(
  {
    ...targetField,
    countMax: Type.Integer({ default: REDRIVEN_DEFAULT, minimum: 1, maximum: REDRIVEN_MAX }),
  },
  { additionalProperties: false },
);

type Edits = Omit<Static<typeof redriveOneFields>, 'queue'>;

export function addQueueMessageRoutes(app: App, options: AdminOptions): void {
  const { core } = options;
  const tags = ['queues'];
  const queueOf = (name: string): Queue => found(core.queues.get(name), 'queue', name);
  const view = (waiting: WaitingMessage): Static<typeof waitingSchema> => ({
    offset: waiting.offset,
    redelivered: waiting.redelivered,
    deaths: pastDeathsOf(waiting.message).map((death) => ({ ...death, keys: [...death.keys] })),
    message: options.jsonFromMessage(waiting.message) as MessageView,
  });

  app.get(
    '/v1/dead-letters',
    {
      schema: {
        summary: 'List queues that gather dead letters',
        tags,
        querystring: pageQuery,
        response: { 200: pageOf(deadLettersSchema), '4xx': problemResponse },
      },
    },
    (request) =>
      paginate(
        deadLetterQueues(options),
        request.query,
        ([queue]) => queue,
        ([queue, { sources, mappings, bridges }]) => ({
          queue,
          readyCount: core.queues.get(queue)?.readyCount ?? 0,
          sources: [...sources].sort().slice(0, SOURCES_SHOWN_MAX),
          mappings: [...mappings].sort().slice(0, SOURCES_SHOWN_MAX),
          bridges: [...bridges].sort().slice(0, SOURCES_SHOWN_MAX),
        }),
      ),
  );

  app.get(
    '/v1/queues/:name/messages',
    {
      schema: {
        summary: 'Look at what waits in a queue',
        description: 'Oldest first; nothing is taken. A page ends early where its messages are large.',
        tags,
        params: nameParams,
        querystring: pageQuery,
        response: { 200: pageOf(waitingSchema), '4xx': problemResponse },
      },
    },
    async (request) => {
      const { limit, after } = request.query;
      const place = after === undefined ? null : placeFromCursor(after);
      const waiting = await queueOf(request.params.name).browse(place, limit + 1, PAGE_BYTES);
      const isShort = waiting.length <= limit;
      const bytes = waiting.reduce((sum, { message }) => sum + message.body.length, 0);
      const items = waiting.slice(0, limit);
      const last = items.at(-1);
      const more = last !== undefined && (!isShort || bytes >= PAGE_BYTES);
      return { items: items.map(view), next: more ? cursorOf(last) : null };
    },
  );

  app.get(
    '/v1/queues/:name/messages/:offset',
    {
      schema: {
        summary: 'Look at a message that waits in a queue',
        tags,
        params: messageParams,
        response: { 200: waitingSchema, '4xx': problemResponse },
      },
    },
    async ({ params }) => view(await waitingAt(queueOf(params.name), params.offset)),
  );

  app.delete(
    '/v1/queues/:name/messages/:offset',
    {
      schema: {
        summary: 'Remove a message from a queue',
        tags,
        params: messageParams,
        querystring: changeQuery,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    async (request, reply) => {
      const { name, offset } = request.params;
      if (request.query.dryRun) await waitingAt(queueOf(name), offset);
      else {
        (await taken(queueOf(name), offset)).settle('accepted');
        await whenStored(core);
      }
      reply.code(204);
      return null;
    },
  );

  app.post(
    '/v1/queues/:name/messages/:offset/redrive',
    {
      schema: {
        summary: 'Send a dead letter back, also edited',
        description:
          'To the queue in which it first died, without its history; what a mapping could not lead on is published ' +
          'again at its address. A message that is no dead letter needs `queue`. Stored before the answer.',
        consumes: ['application/json', 'application/yaml'],
        tags,
        params: messageParams,
        querystring: changeQuery,
        body: redriveOneFields,
        response: { 200: redrivenSchema, '4xx': problemResponse },
      },
    },
    async (request) => {
      const queue = queueOf(request.params.name);
      const { queue: wanted, ...edits } = request.body;
      const { message } = await waitingAt(queue, request.params.offset);
      const way = wayBack(core, edited(options, message, edits), queue, wanted);
      if (!request.query.dryRun) {
        const refusal = await redrive(core, queue, request.params.offset, way);
        if (refusal !== null) throw refusal;
        await whenStored(core);
      }
      return { queue: way.queue, address: way.message.address };
    },
  );

  app.post(
    '/v1/queues/:name/redrive',
    {
      schema: {
        summary: 'Send dead letters back',
        description:
          'The oldest, each to the queue in which it first died; what a mapping could not lead on is published again at ' +
          'its address, and a new dead letter where it still cannot. What cannot go back stays and is told.',
        consumes: ['application/json', 'application/yaml'],
        tags,
        params: nameParams,
        querystring: changeQuery,
        body: redriveFields,
        response: {
          200: Type.Object({
            redrivenCount: Type.Integer({ minimum: 0 }),
            skippedCount: Type.Integer({ minimum: 0, description: 'Those that stayed.' }),
            skipped: Type.Array(Type.Object({ offset: Type.Integer(), detail: Type.String() }), {
              description: 'Why, for the first 100 of them.',
            }),
            readyCount: Type.Integer({ minimum: 0, description: 'What waits here now.' }),
          }),
          '4xx': problemResponse,
        },
      },
    },
    async (request) => {
      const queue = queueOf(request.params.name);
      const { queue: wanted } = request.body;
      // Those that are here now: what dies again meanwhile may come back here.
      const countMax = Math.min(request.body.countMax, queue.readyCount);
      const skipped: { readonly offset: number; readonly detail: string }[] = [];
      let redrivenCount = 0;
      let seenCount = 0;
      let place: WaitingPlace | null = null;
      while (seenCount < countMax) {
        const page: WaitingMessage[] = await queue.browse(
          place,
          Math.min(100, countMax - seenCount),
          PAGE_BYTES,
        );
        const last = page.at(-1);
        if (last === undefined) break;
        // What is seen may be a living entry: its place is remembered before it goes.
        place = { offset: last.offset, sequence: last.sequence };
        for (const waiting of page) {
          seenCount++;
          const refusal = await redriveWaiting(core, queue, waiting, wanted, request.query.dryRun);
          if (refusal === null) redrivenCount++;
          else skipped.push({ offset: waiting.offset, detail: refusal.message });
        }
      }
      if (redrivenCount > 0 && !request.query.dryRun) await whenStored(core);
      return {
        redrivenCount,
        skippedCount: skipped.length,
        skipped: skipped.slice(0, SKIPPED_SHOWN_MAX),
        readyCount: queue.readyCount,
      };
    },
  );
}

interface Origins {
  readonly sources: Set<string>;
  readonly mappings: Set<string>;
  readonly bridges: Set<string>;
}

/** Names of queues, and of the queues, mappings and bridges whose dead letters come there. */
function deadLetterQueues({ bridges, core }: AdminOptions): Map<string, Origins> {
  const gathered = new Map<string, Origins>();
  const bySource = new Map<string, string[]>();
  for (const { exchange, target } of core.exchanges.bindings()) {
    if (target.kind !== 'queue') continue;
    const targets = bySource.get(exchange);
    if (targets === undefined) bySource.set(exchange, [target.name]);
    else targets.push(target.name);
  }
  const originsOf = (queue: string): Origins | undefined => {
    if (core.queues.get(queue) === undefined) return undefined;
    const known = gathered.get(queue) ?? {
      sources: new Set<string>(),
      mappings: new Set<string>(),
      bridges: new Set<string>(),
    };
    gathered.set(queue, known);
    return known;
  };
  const add = (queue: string, source: string): void => void originsOf(queue)?.sources.add(source);
  for (const [name, { rule }] of core.rules.list()) {
    for (const { onError } of isRouting(rule) ? rule.targets : [])
      if (onError.kind === 'dead-letter') originsOf(onError.queue)?.mappings.add(name);
  }
  for (const { name } of bridges.list()) originsOf(BRIDGE_DEAD_LETTERS)?.bridges.add(name);
  for (const { spec } of core.queues.list()) {
    const prefix = `${DEAD_LETTER_ROOT}/`;
    if (spec.name.startsWith(prefix)) {
      const source = spec.name.slice(prefix.length);
      // The queues of mappings without one of their own, and of bridges, are no other queue's, unless there is one of that name.
      const known = gathered.get(spec.name);
      const isOthers = known !== undefined && known.mappings.size + known.bridges.size > 0;
      if (core.queues.get(source) !== undefined || !isOthers) add(spec.name, source);
    }
    if (spec.deadLetter === null) continue;
    const { exchange, key } = spec.deadLetter;
    if (exchange !== '') for (const queue of bySource.get(exchange) ?? []) add(queue, spec.name);
    else if (key !== null) add(swapSeparators(key), spec.name);
  }
  return gathered;
}

async function waitingAt(queue: Queue, offset: number): Promise<WaitingMessage> {
  const before: WaitingPlace =
    offset < 0
      ? { offset: -1, sequence: -offset - 1 }
      : { offset: offset - 1, sequence: Number.MAX_SAFE_INTEGER };
  // What is before the first row has no offset that is one less.
  const place = offset === 0 ? null : before;
  const [waiting] = await queue.browse(place, 1, 1);
  if (waiting?.offset !== offset) throw nothingAt(queue, offset);
  return waiting;
}

async function taken(queue: Queue, offset: number): Promise<Delivery> {
  const delivery = await queue.takeAt(offset);
  if (delivery === null) throw nothingAt(queue, offset);
  return delivery;
}

/** Why it stayed, or would stay; null where it went, or would go. */
async function redriveWaiting(
  core: Core,
  queue: Queue,
  { offset, message }: WaitingMessage,
  wanted: string | undefined,
  dryRun: boolean,
): Promise<Problem | null> {
  let way: WayBack;
  try {
    way = wayBack(core, message, queue, wanted);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return error;
  }
  return dryRun ? null : redrive(core, queue, offset, way);
}

/** The message with what the request says in place of what it had. Its history stays, whatever the edits say. */
function edited(options: AdminOptions, message: Message, edits: Edits): Message {
  const fresh = options.messageFromJson(edits, message.address, message.timestampMs);
  const { headers: _, ...said } = message.properties;
  const { headers: given, ...properties } = fresh.properties;
  const old = believedHeaders(message);
  const history = old.filter(({ name }) => isHistory(name));
  const own = given.filter(({ name }) => !isHistory(name));
  const isBodyEdited = edits.body !== undefined || edits.bodyBase64 !== undefined;
  return message.with({
    ...(isBodyEdited ? { body: fresh.body, nullBody: fresh.nullBody } : {}),
    // What its publisher lent was the right to answer at its own reply address, and at no other.
    replyLent:
      message.replyLent &&
      (edits.properties === undefined || properties.replyTo === message.properties.replyTo),
    properties: {
      ...(edits.properties === undefined ? said : properties),
      headers: edits.headers === undefined ? old : [...own, ...history],
    },
  });
}

function cursorOf({ offset, sequence }: WaitingPlace): string {
  return Buffer.from(`${offset}.${sequence}`).toString('base64url');
}

function placeFromCursor(cursor: string): WaitingPlace {
  const parts = /^(-?\d{1,16})\.(\d{1,16})$/.exec(Buffer.from(cursor, 'base64url').toString());
  if (parts === null)
    throw problem('invalid-request', 'query', '/after', 'is not the `next` of an earlier page');
  return { offset: Number(parts[1]), sequence: Number(parts[2]) };
}
