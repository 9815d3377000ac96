/**
 * The consumer groups of a queue: listed with what waits in each, shown one by one, and deleted. A group's id in a path is
 * percent-encoded (`workers@eu/#` is `workers%40eu%2F%23`). Rules of groups: docs/queues.md.
 */

import Type, { type Static } from 'typebox';
import type { Queue, QueueGroup } from '../core/index.ts';
import type { AdminOptions } from './options.ts';
import { pageOf, pageQuery, paginate } from './paging.ts';
import { notFound } from './problems.ts';
import { problemResponse } from './schemas.ts';
import { whenStored } from './stored.ts';
import type { App } from './validation.ts';

const count = (description: string) => Type.Integer({ minimum: 0, description });

const groupSchema = Type.Object({
  id: Type.String({ description: '`name`, or `name@filter` where the filter is not everything.' }),
  name: Type.String(),
  readyCount: count('Messages waiting for a member.'),
  unsettledCount: count('Messages that members have and have not settled.'),
  consumerCount: count('Members.'),
});

const queueParams = Type.Object({ name: Type.String({ minLength: 1 }) });
const groupParams = Type.Object({
  name: Type.String({ minLength: 1 }),
  group: Type.String({ minLength: 1 }),
});
const tags = ['queues'];

export function addQueueGroupRoutes(app: App, { core }: AdminOptions): void {
  const queueOf = (name: string): Queue => {
    const queue = core.queues.get(name);
    if (queue === undefined) throw notFound('/name', `there is no queue '${name}'`);
    return queue;
  };
  const groupOf = (queue: Queue, id: string): QueueGroup => {
    for (const group of queue.groups) if (group.id === id) return group;
    throw notFound('/group', `queue '${queue.spec.name}' has no group '${id}'`);
  };

  app.get(
    '/v1/queues/:name/groups',
    {
      schema: {
        summary: 'List the groups of a queue',
        tags,
        params: queueParams,
        querystring: pageQuery,
        response: { 200: pageOf(groupSchema), '4xx': problemResponse },
      },
    },
    (request) =>
      paginate(queueOf(request.params.name).groups, request.query, (group) => group.id, viewFromGroup),
  );
  app.get(
    '/v1/queues/:name/groups/:group',
    {
      schema: {
        summary: 'Get a group of a queue',
        tags,
        params: groupParams,
        response: { 200: groupSchema, '4xx': problemResponse },
      },
    },
    ({ params }) => viewFromGroup(groupOf(queueOf(params.name), params.group)),
  );
  app.delete(
    '/v1/queues/:name/groups/:group',
    {
      schema: {
        summary: 'Delete a group of a queue',
        description: 'What it gathered goes. Its members are told, or disconnected where they cannot be.',
        tags,
        params: groupParams,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    async ({ params }, reply) => {
      const queue = queueOf(params.name);
      queue.removeGroup(groupOf(queue, params.group).id);
      await whenStored(core);
      reply.code(204);
      return null;
    },
  );
}

function viewFromGroup({
  id,
  name,
  readyCount,
  unsettledCount,
  consumerCount,
}: QueueGroup): Static<typeof groupSchema> {
  return { id, name, readyCount, unsettledCount, consumerCount };
}
