/**
 * `/v1/queues`: listed, shown, put by name, deleted and purged. PUT makes a queue or changes its bounds, lifetimes and
 * dead letters, under its clients; what only a new queue can be, durable or not, stays. Checks and changes happen in one
 * turn of the event loop, so of two writers with one ETag one is refused.
 */

import Type, { type Static } from 'typebox';
import { type Core, CoreError, type Queue, type QueueSpec, swapSeparators } from '../core/index.ts';
import { jsonFromHeaders } from './header-json.ts';
import { addNamedReads } from './named-reads.ts';
import { checkNewName, found, nameParams } from './object-names.ts';
import type { AdminOptions } from './options.ts';
import { changeQuery, checkPreconditions, etagOf, preconditions } from './preconditions.ts';
import { problem } from './problems.ts';
import { problemResponse, type QueueView, queueSchema } from './schemas.ts';
import { whenStored } from './stored.ts';
import type { App } from './validation.ts';

const bound = (description: string) =>
  Type.Optional(Type.Integer({ minimum: -1, description: `${description} -1: no bound.` }));

const queueFields = Type.Object(
  {
    durable: Type.Optional(Type.Boolean({ description: 'It survives a restart. True for a new queue.' })),
    autoDelete: Type.Optional(Type.Boolean({ description: 'It goes with its last consumer.' })),
    messagesMax: bound('Messages that may wait.'),
    bytesMax: bound('Bytes of bodies that may wait.'),
    overflow: Type.Optional(
      Type.Union([Type.Literal('drop-oldest'), Type.Literal('reject')], {
        description: 'Beyond a bound the oldest go, or new ones are refused.',
      }),
    ),
    messageTtlMs: bound('Milliseconds that a new message may wait.'),
    expiresMs: Type.Optional(
      Type.Union([Type.Literal(-1), Type.Integer({ minimum: 1 })], {
        description: 'Milliseconds without use after which the queue goes. -1: never.',
      }),
    ),
    deadLetter: Type.Optional(
      Type.Union(
        [
          Type.Object(
            {
              exchange: Type.String({ maxLength: 255, description: 'Empty: the key is a queue’s name.' }),
              key: Type.Optional(
                Type.Union([Type.String({ maxLength: 255 }), Type.Null()], {
                  description: 'A queue’s name, or a key with / between levels; null: the message’s own.',
                }),
              ),
            },
            { additionalProperties: false },
          ),
          Type.Null(),
        ],
        { description: 'Where rejected, expired and overflowing messages go; null: nowhere.' },
      ),
    ),
  },
  { additionalProperties: false, description: 'What is absent stays as it is.' },
);

const deleteQuery = Type.Object(
  {
    ...changeQuery.properties,
    ifUnused: Type.Boolean({ default: false, description: 'Only while nobody consumes it.' }),
    ifEmpty: Type.Boolean({ default: false, description: 'Only while nothing waits in it.' }),
  },
  { additionalProperties: false },
);

const countSchema = Type.Object({ count: Type.Integer({ minimum: 0, description: 'Messages removed.' }) });

/** What only a new queue can be. */
const FIXED = ['durable', 'autoDelete'] as const;

export function addQueueRoutes(app: App, options: AdminOptions): void {
  const { core } = options;
  const tags = ['queues'];
  const queueOf = (name: string): Queue => found(core.queues.get(name), 'queue', name);

  addNamedReads(app, {
    tag: 'queues',
    path: '/v1/queues',
    onePath: '/v1/queues/:name',
    one: 'a queue',
    many: 'queues',
    what: 'queue',
    schema: queueSchema,
    list: () => core.queues.list(),
    get: (name) => core.queues.get(name),
    nameOf: ({ spec }) => spec.name,
    etagOf: ({ spec }) => etagOfQueue(spec),
    show: viewFromQueue,
  });

  app.put(
    '/v1/queues/:name',
    {
      schema: {
        summary: 'Create or change a queue',
        description: 'What is absent stays as it is. Stored before the answer.',
        consumes: ['application/json', 'application/yaml'],
        tags,
        params: nameParams,
        headers: preconditions,
        querystring: changeQuery,
        body: queueFields,
        response: { 200: queueSchema, 201: queueSchema, '4xx': problemResponse },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const before = core.queues.get(name);
      checkPreconditions(request.headers, before && etagOfQueue(before.spec), 'the queue');
      const spec = before === undefined ? newSpec(core, name, request.body) : changed(before, request.body);
      reply.code(before === undefined ? 201 : 200).header('etag', etagOfQueue(spec));
      if (request.query.dryRun) return viewFromQueue({ ...COUNTS_OF_NONE, ...countsOf(before), spec });
      if (before === undefined) {
        await core.queues.declare({ ...spec, arguments: options.definitions.argumentsOfQueue(spec) });
        reply.header('location', `/v1/queues/${encodeURIComponent(name)}`);
      } else if (etagOfQueue(spec) !== etagOfQueue(before.spec)) {
        const { messagesMax, bytesMax, overflow, messageTtlMs, expiresMs, deadLetter } = spec;
        const bounds = { messagesMax, bytesMax, overflow, messageTtlMs, expiresMs, deadLetter };
        core.queues.change(name, bounds);
      }
      await whenStored(core);
      return viewFromQueue(queueOf(name));
    },
  );

  app.delete(
    '/v1/queues/:name',
    {
      schema: {
        summary: 'Delete a queue with what waits in it',
        tags,
        params: nameParams,
        headers: preconditions,
        querystring: deleteQuery,
        response: { 200: countSchema, '4xx': problemResponse },
      },
    },
    async (request) => {
      const { name } = request.params;
      const queue = queueOf(name);
      checkPreconditions(request.headers, etagOfQueue(queue.spec), 'the queue');
      const { dryRun, ifUnused, ifEmpty } = request.query;
      if (ifUnused && queue.consumerCount > 0) throw conflict(`queue ${name} has consumers`);
      if (ifEmpty && queue.readyCount > 0) throw conflict(`queue ${name} is not empty`);
      if (dryRun) return { count: queue.readyCount };
      const count = core.queues.delete(name, { ifUnused, ifEmpty });
      await whenStored(core);
      return { count };
    },
  );

  app.delete(
    '/v1/queues/:name/messages',
    {
      schema: {
        summary: 'Purge a queue',
        description:
          'Removes what waits; what consumers hold stays with them, and what named groups keep with those.',
        tags,
        params: nameParams,
        querystring: changeQuery,
        response: { 200: countSchema, '4xx': problemResponse },
      },
    },
    async (request) => {
      const queue = queueOf(request.params.name);
      if (request.query.dryRun) return { count: queue.readyCount };
      const count = queue.purge();
      await whenStored(core);
      return { count };
    },
  );
}

const conflict = (detail: string): Error => problem('conflict', 'path', '/name', detail);

function newSpec(core: Core, name: string, given: Static<typeof queueFields>): QueueSpec {
  checkNewName('queue', name);
  let count = 0;
  for (const _ of core.queues.list()) count++;
  if (count >= core.limits.queuesMax) {
    throw new CoreError('limit-reached', `there are ${count} queues already (limits.queuesMax)`);
  }
  return {
    name,
    durable: true,
    autoDelete: false,
    owner: null,
    messagesMax: -1,
    bytesMax: -1,
    overflow: 'drop-oldest',
    messageTtlMs: -1,
    expiresMs: -1,
    arguments: [],
    ...given,
    deadLetter: deadLetterOf(given.deadLetter),
  };
}

/** Throws a problem where it asks for what cannot be changed. */
function changed({ spec }: Queue, given: Static<typeof queueFields>): QueueSpec {
  for (const field of FIXED) {
    if (given[field] === undefined || given[field] === spec[field]) continue;
    const detail = `is ${spec[field]}, and only a new queue can be otherwise`;
    throw problem('conflict', 'body', `/${field}`, detail);
  }
  const deadLetter = given.deadLetter === undefined ? spec.deadLetter : deadLetterOf(given.deadLetter);
  const after = { ...spec, ...given, deadLetter };
  if (spec.owner !== null && etagOfQueue(after) !== etagOfQueue(spec)) {
    throw conflict('the queue belongs to one connection, and changes with it alone');
  }
  return after;
}

/** Here a queue is called by its name; in the core the key has the form of an address. */
function deadLetterOf(given: Static<typeof queueFields>['deadLetter']): QueueSpec['deadLetter'] {
  if (given === undefined || given === null) return null;
  const { exchange, key = null } = given;
  return { exchange, key: exchange === '' && key !== null ? swapSeparators(key) : key };
}

function viewFromDeadLetter(deadLetter: QueueSpec['deadLetter']): QueueView['deadLetter'] {
  if (deadLetter === null) return null;
  const { exchange, key } = deadLetter;
  return { exchange, key: exchange === '' && key !== null ? swapSeparators(key) : key };
}

/** Of what can be put. */
function etagOfQueue(spec: QueueSpec): string {
  const { durable, autoDelete, messagesMax, bytesMax, overflow, messageTtlMs, expiresMs, deadLetter } = spec;
  const target = deadLetter === null ? null : [deadLetter.exchange, deadLetter.key];
  return etagOf([durable, autoDelete, messagesMax, bytesMax, overflow, messageTtlMs, expiresMs, target]);
}

type Counts = Pick<Queue, 'readyCount' | 'unsettledCount' | 'consumerCount'>;
const COUNTS_OF_NONE: Counts = { readyCount: 0, unsettledCount: 0, consumerCount: 0 };

function countsOf(queue: Queue | undefined): Counts {
  if (queue === undefined) return COUNTS_OF_NONE;
  const { readyCount, unsettledCount, consumerCount } = queue;
  return { readyCount, unsettledCount, consumerCount };
}

function viewFromQueue(queue: Counts & { readonly spec: QueueSpec }): QueueView {
  const { owner, arguments: given, ...spec } = queue.spec;
  return {
    ...spec,
    deadLetter: viewFromDeadLetter(spec.deadLetter),
    exclusive: owner !== null,
    ...countsOf(queue as Queue),
    arguments: jsonFromHeaders(given),
  };
}
