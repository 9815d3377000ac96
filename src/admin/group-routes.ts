/**
 * `/v1/groups`: consumer groups that read streams, with their members, the positions that they committed and how far these
 * are behind. Positions are moved, and groups forgotten, only while no member is there: a member would commit its own
 * over them. That is looked at in the same turn of the event loop as the change.
 */

import Type, { type Static } from 'typebox';
import type { Core, GroupMember, Partition, Stream } from '../core/index.ts';
import { nameParams } from './object-names.ts';
import type { AdminOptions } from './options.ts';
import { pageOf, pageQuery, paginate } from './paging.ts';
import { changeQuery } from './preconditions.ts';
import { notFound, problem } from './problems.ts';
import { problemResponse } from './schemas.ts';
import { whenStored } from './stored.ts';
import type { App } from './validation.ts';

const groupSchema = Type.Object({
  name: Type.String(),
  memberCount: Type.Integer({ minimum: 0 }),
  lag: Type.Number({ description: 'Records that were not read yet, over all positions.' }),
});

const positionSchema = Type.Object({
  stream: Type.String(),
  partition: Type.Integer(),
  offset: Type.Number({ description: 'The next record that the group reads.' }),
  startOffset: Type.Number({ description: 'The oldest record’s.' }),
  endOffset: Type.Number({ description: 'The next record’s that is written.' }),
  lag: Type.Number({ description: 'Records that were not read yet.' }),
  committedAt: Type.Union([Type.String(), Type.Null()], {
    description: 'ISO 8601, UTC; null: it is not committed, but where it was to be moved.',
  }),
  metadata: Type.String(),
});

const groupDetailSchema = Type.Object({
  ...groupSchema.properties,
  members: Type.Array(Type.Object({ id: Type.String(), clientId: Type.String(), address: Type.String() }), {
    description: 'At most 1,000 of them.',
  }),
  positions: Type.Array(positionSchema),
});

const resetFields = Type.Object(
  {
    to: Type.Optional(
      Type.Union([Type.Literal('earliest'), Type.Literal('latest')], {
        description: 'The oldest record that is there, or what comes from now on.',
      }),
    ),
    offset: Type.Optional(
      Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'This record.' }),
    ),
    timeMs: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        description: 'The first record that is not older, milliseconds since 1970.',
      }),
    ),
    stream: Type.Optional(
      Type.String({ description: 'Only of this stream, also one that the group has not read yet.' }),
    ),
    partition: Type.Optional(Type.Integer({ minimum: 0, description: 'Only of this one; needs `stream`.' })),
  },
  { additionalProperties: false, description: 'One of `to`, `offset` and `timeMs`.' },
);

type Position = Static<typeof positionSchema>;

const MEMBERS_SHOWN_MAX = 1_000;

export function addGroupRoutes(app: App, { core, clock }: AdminOptions): void {
  const tags = ['groups'];

  app.get(
    '/v1/groups',
    {
      schema: {
        summary: 'List groups that read streams',
        tags,
        querystring: pageQuery,
        response: { 200: pageOf(groupSchema), '4xx': problemResponse },
      },
    },
    (request) =>
      paginate(
        namesOf(core),
        request.query,
        (name) => name,
        (name) => summaryOf(name, membersOf(core, name), positionsOf(core, name)),
      ),
  );

  app.get(
    '/v1/groups/:name',
    {
      schema: {
        summary: 'Get a group with its members and positions',
        tags,
        params: nameParams,
        response: { 200: groupDetailSchema, '4xx': problemResponse },
      },
    },
    ({ params }) => detailOf(core, params.name),
  );

  app.post(
    '/v1/groups/:name/reset',
    {
      schema: {
        summary: 'Move a group’s positions',
        description:
          'Only while it has no member (409). Stored before the answer, which has the new positions.',
        consumes: ['application/json', 'application/yaml'],
        tags,
        params: nameParams,
        querystring: changeQuery,
        body: resetFields,
        response: { 200: Type.Object({ positions: Type.Array(positionSchema) }), '4xx': problemResponse },
      },
    },
    async (request) => {
      const { name } = request.params;
      const { body } = request;
      if ([body.to, body.offset, body.timeMs].filter((each) => each !== undefined).length !== 1) {
        throw problem('invalid-request', 'body', '', 'give one of to, offset and timeMs');
      }
      const moved: { readonly stream: Stream; readonly partition: Partition; readonly offset: number }[] = [];
      for (const { stream, partition } of targetsOf(core, name, body)) {
        moved.push({ stream, partition, offset: await offsetIn(partition, stream.spec.name, body) });
      }
      refuseMembers(core, name);
      const nowMs = clock.nowMs();
      if (!request.query.dryRun) {
        for (const { stream, partition, offset } of moved) {
          const cursor = { offset, leaderEpoch: -1, metadata: '', committedAtMs: nowMs };
          core.cursors.commit(name, stream.spec.name, partition.index, cursor);
        }
        await whenStored(core);
      }
      const committedAtMs = request.query.dryRun ? null : nowMs;
      const positions = moved.map(({ stream, partition, offset }) =>
        positionOf(stream.spec.name, partition, offset, committedAtMs, ''),
      );
      return { positions };
    },
  );

  app.delete(
    '/v1/groups/:name',
    {
      schema: {
        summary: 'Forget a group with its positions',
        description: 'Only while it has no member (409).',
        tags,
        params: nameParams,
        querystring: changeQuery,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      detailOf(core, name);
      refuseMembers(core, name);
      if (!request.query.dryRun) {
        core.cursors.remove(name, null, null);
        await whenStored(core);
      }
      reply.code(204);
      return null;
    },
  );
}

function namesOf({ cursors }: Core): Set<string> {
  const names = new Set(cursors.groups());
  for (const membership of cursors.memberships()) for (const name of membership.groups()) names.add(name);
  return names;
}

function membersOf({ cursors }: Core, group: string): GroupMember[] {
  return [...cursors.memberships()].flatMap((membership) => [...membership.members(group)]);
}

function refuseMembers(core: Core, group: string): void {
  const { length } = membersOf(core, group);
  if (length === 0) return;
  throw problem('conflict', 'path', '/name', `group ${group} has ${length} members; stop them first`);
}

function positionsOf({ cursors, streams }: Core, group: string): Position[] {
  const positions: Position[] = [];
  for (const [name, index, { offset, committedAtMs, metadata }] of cursors.list(group)) {
    const partition = streams.get(name)?.partitions[index];
    if (partition !== undefined) positions.push(positionOf(name, partition, offset, committedAtMs, metadata));
  }
  return positions.sort((one, other) =>
    one.stream === other.stream ? one.partition - other.partition : one.stream < other.stream ? -1 : 1,
  );
}

function positionOf(
  stream: string,
  { index, startOffset, endOffset }: Partition,
  offset: number,
  committedAtMs: number | null,
  metadata: string,
): Position {
  const lag = Math.max(0, endOffset - Math.max(offset, startOffset));
  const committedAt = committedAtMs === null ? null : timeText(committedAtMs);
  return { stream, partition: index, offset, startOffset, endOffset, lag, committedAt, metadata };
}

/** Null for what is no time. */
function timeText(ms: number): string | null {
  const time = new Date(ms);
  return Number.isNaN(time.getTime()) ? null : time.toISOString();
}

function summaryOf(name: string, members: readonly GroupMember[], positions: readonly Position[]) {
  return { name, memberCount: members.length, lag: positions.reduce((sum, { lag }) => sum + lag, 0) };
}

/** Throws a problem with 404 where there is neither a member nor a position. */
function detailOf(core: Core, name: string): Static<typeof groupDetailSchema> {
  const members = membersOf(core, name);
  const positions = positionsOf(core, name);
  if (members.length === 0 && positions.length === 0) throw notFound('/name', `there is no group ${name}`);
  const shown = members.slice(0, MEMBERS_SHOWN_MAX).map(({ id, clientId, address }) => ({
    id,
    clientId,
    address,
  }));
  return { ...summaryOf(name, members, positions), members: shown, positions };
}

/** The partitions whose positions are to be moved: those that the group has, or those that the request names. */
function targetsOf(
  core: Core,
  group: string,
  { stream: wanted, partition: index }: Static<typeof resetFields>,
): { readonly stream: Stream; readonly partition: Partition }[] {
  if (wanted === undefined) {
    if (index !== undefined) throw problem('invalid-request', 'body', '/stream', 'is needed with partition');
    return detailOf(core, group).positions.map(({ stream: name, partition }) => {
      const stream = core.streams.get(name) as Stream;
      return { stream, partition: stream.partitions[partition] as Partition };
    });
  }
  const stream = core.streams.get(wanted);
  if (stream === undefined) throw problem('conflict', 'body', '/stream', `there is no stream ${wanted}`);
  const partitions = index === undefined ? stream.partitions : stream.partitions.slice(index, index + 1);
  if (partitions.length === 0) {
    throw problem('conflict', 'body', '/partition', `stream ${wanted} has no partition ${index}`);
  }
  return partitions.map((partition) => ({ stream, partition }));
}

/** The offset that is meant, in this partition. */
async function offsetIn(
  partition: Partition,
  stream: string,
  { to, offset, timeMs }: Static<typeof resetFields>,
): Promise<number> {
  const { startOffset, endOffset, index } = partition;
  if (to === 'earliest') return startOffset;
  if (to === 'latest') return endOffset;
  if (timeMs !== undefined) return (await partition.offsetAt(timeMs))?.offset ?? partition.endOffset;
  const wanted = offset as number;
  if (wanted >= startOffset && wanted <= endOffset) return wanted;
  const detail = `partition ${index} of ${stream} has offsets from ${startOffset} to ${endOffset}`;
  throw problem('invalid-request', 'body', '/offset', detail);
}
