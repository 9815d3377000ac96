/**
 * `/v1/streams`: listed, shown, put by name, deleted and emptied. PUT makes a stream that keeps the address of its name, or
 * changes its retention and adds partitions. Changes run one after the other: of two writers with one ETag one is refused.
 */

import { Buffer } from 'node:buffer';
import Type, { type Static } from 'typebox';
import {
  CoreError,
  type MappingRules,
  type Partition,
  type Pattern,
  type Stream,
  type StreamSpec,
  streamsOfRule,
} from '../core/index.ts';
import { checkStream } from '../core/stream-definition.ts';
import { addNamedReads } from './named-reads.ts';
import { found, nameParams } from './object-names.ts';
import type { AdminOptions } from './options.ts';
import { changeQuery, checkPreconditions, etagOf, preconditions, takingTurns } from './preconditions.ts';
import { notFound, problem, problemFromCore } from './problems.ts';
import { problemResponse, type StreamView, streamSchema } from './schemas.ts';
import { whenStored } from './stored.ts';
import type { App } from './validation.ts';

const SEGMENT_BYTES_MIN = 65_536;

const streamFields = Type.Object(
  {
    partitions: Type.Optional(
      Type.Integer({ minimum: 1, description: 'One for a new stream; they cannot become fewer.' }),
    ),
    retentionMs: Type.Optional(
      Type.Integer({ minimum: -1, description: 'Milliseconds that records are kept. -1: for ever.' }),
    ),
    retentionBytes: Type.Optional(
      Type.Integer({ minimum: -1, description: 'Bytes that each partition keeps. -1: all.' }),
    ),
    segmentBytes: Type.Optional(
      Type.Integer({
        minimum: SEGMENT_BYTES_MIN,
        maximum: 0x7fff_ffff,
        description: 'Bytes after which a partition begins a new file.',
      }),
    ),
  },
  {
    additionalProperties: false,
    description: 'What is absent stays as it is; a new stream gets what the configuration says.',
  },
);

const truncateQuery = Type.Object(
  {
    ...changeQuery.properties,
    partition: Type.Optional(Type.Integer({ minimum: 0, description: 'Only of this one.' })),
    before: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        description: 'Only records before this offset; needs `partition`.',
      }),
    ),
  },
  { additionalProperties: false },
);

export function addStreamRoutes(app: App, options: AdminOptions): void {
  const { core, definitions } = options;
  const tags = ['streams'];
  const inTurn = takingTurns();
  const view = (stream: Shown): StreamView => viewFromStream(stream, core.rules);
  const streamOf = (name: string): Stream => found(core.streams.get(name), 'stream', name);

  addNamedReads(app, {
    tag: 'streams',
    path: '/v1/streams',
    onePath: '/v1/streams/:name',
    one: 'a stream',
    many: 'streams',
    what: 'stream',
    schema: streamSchema,
    list: () => core.streams.list(),
    get: (name) => core.streams.get(name),
    nameOf: ({ spec }) => spec.name,
    etagOf: ({ spec }) => etagOfStream(spec),
    show: view,
  });

  app.put(
    '/v1/streams/:name',
    {
      schema: {
        summary: 'Create or change a stream',
        description:
          'A new stream keeps what is published to the address of its name. What is absent stays as it is. ' +
          'Stored before the answer.',
        consumes: ['application/json', 'application/yaml'],
        tags,
        params: nameParams,
        headers: preconditions,
        querystring: changeQuery,
        body: streamFields,
        response: { 200: streamSchema, 201: streamSchema, '4xx': problemResponse },
      },
    },
    (request, reply) =>
      inTurn(async () => {
        const { name } = request.params;
        const before = core.streams.get(name);
        checkPreconditions(request.headers, before && etagOfStream(before.spec), 'the stream');
        const spec = specOf(options, name, before?.spec, request.body);
        checkStream(spec, core.limits);
        reply.code(before === undefined ? 201 : 200).header('etag', etagOfStream(spec));
        if (request.query.dryRun) {
          return view({ id: before?.id ?? NO_ID, partitions: before?.partitions ?? [], spec });
        }
        if (before === undefined) {
          await core.streams.declare(spec);
          reply.header('location', `/v1/streams/${encodeURIComponent(name)}`);
        } else if (etagOfStream(spec) !== etagOfStream(before.spec)) {
          const { partitions, log, settings } = spec;
          await core.streams.change(name, { partitions, log, settings });
        }
        return view(streamOf(name));
      }),
  );

  app.delete(
    '/v1/streams/:name',
    {
      schema: {
        summary: 'Delete a stream with its records',
        description: 'Refused while a mapping leads to it.',
        tags,
        params: nameParams,
        headers: preconditions,
        querystring: changeQuery,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    (request, reply) =>
      inTurn(async () => {
        const { name } = request.params;
        const stream = streamOf(name);
        checkPreconditions(request.headers, etagOfStream(stream.spec), 'the stream');
        const { mappings } = view(stream);
        if (mappings.length > 0) {
          throw problem(
            'conflict',
            'path',
            '/name',
            `mappings lead to stream ${name}: ${mappings.join(', ')}`,
          );
        }
        if (!request.query.dryRun) {
          await core.streams.delete(name);
          await whenStored(core);
        }
        reply.code(204);
        return null;
      }),
  );

  app.delete(
    '/v1/streams/:name/records',
    {
      schema: {
        summary: 'Remove records of a stream',
        description: 'All, or the oldest of one partition. Offsets go on where they were.',
        tags,
        params: nameParams,
        querystring: truncateQuery,
        response: { 200: streamSchema, '4xx': problemResponse },
      },
    },
    async (request) => {
      const stream = streamOf(request.params.name);
      const { partition, before, dryRun } = request.query;
      for (const [each, offset] of cutsOf(stream, partition, before))
        if (!dryRun) each.truncateBefore(offset);
      if (!dryRun) await whenStored(core);
      return view(stream);
    },
  );

  function specOf(
    { streamLog }: AdminOptions,
    name: string,
    before: StreamSpec | undefined,
    given: Static<typeof streamFields>,
  ): StreamSpec {
    const held = before ?? { partitions: 1, log: streamLog, settings: {} };
    const captures = before?.captures ?? capturesOf(definitions, name);
    const { partitions = held.partitions, ...ofLog } = given;
    if (partitions < held.partitions) {
      const detail = `stream ${name} has ${held.partitions} partitions; they cannot become fewer`;
      throw problem('conflict', 'body', '/partitions', detail);
    }
    const log = { ...held.log, ...ofLog };
    return { name, partitions, captures, log, settings: definitions.settingsOfStream(held.settings, log) };
  }
}

function capturesOf(definitions: AdminOptions['definitions'], name: string): readonly Pattern[] {
  try {
    return definitions.capturesOfStream(name);
  } catch (error) {
    throw error instanceof CoreError ? problemFromCore(error, 'path', '/name') : error;
  }
}

const NO_ID = new Uint8Array(0);

/** Which partitions lose their records before which offset. */
function cutsOf(
  stream: Stream,
  index: number | undefined,
  before: number | undefined,
): (readonly [Partition, number])[] {
  if (index === undefined) {
    if (before !== undefined)
      throw problem('invalid-request', 'query', '/partition', 'is needed with before');
    return stream.partitions.map((each) => [each, each.endOffset] as const);
  }
  const partition = stream.partitions[index];
  if (partition === undefined)
    throw notFound('/name', `stream ${stream.spec.name} has no partition ${index}`);
  const offset = before ?? partition.endOffset;
  if (offset > partition.endOffset) {
    const detail = `the end of partition ${index} is ${partition.endOffset}`;
    throw problem('invalid-request', 'query', '/before', detail);
  }
  return [[partition, offset]];
}

function etagOfStream({ partitions, log, settings }: StreamSpec): string {
  return etagOf([partitions, log.retentionMs, log.retentionBytes, log.segmentBytes, settings]);
}

type Shown = Pick<Stream, 'spec' | 'id' | 'partitions'>;

function viewFromStream(stream: Shown, rules: MappingRules): StreamView {
  const { spec } = stream;
  const mappings: string[] = [];
  for (const [name, { rule }] of rules.list()) {
    if (streamsOfRule(rule).some((each) => each.name === spec.name)) mappings.push(name);
  }
  const missing = Math.max(0, spec.partitions - stream.partitions.length);
  const planned = Array.from({ length: missing }, (_, at) => ({
    index: stream.partitions.length + at,
    startOffset: 0,
    endOffset: 0,
    sizeBytes: 0,
  }));
  return {
    name: spec.name,
    id: Buffer.from(stream.id).toString('hex'),
    captures: spec.captures.map(String),
    mappings,
    retentionBytes: spec.log.retentionBytes,
    retentionMs: spec.log.retentionMs,
    segmentBytes: spec.log.segmentBytes,
    settings: { ...spec.settings },
    partitions: [
      ...stream.partitions.map(({ index, startOffset, endOffset, sizeBytes }) => ({
        index,
        startOffset,
        endOffset,
        sizeBytes,
      })),
      ...planned,
    ],
  };
}
