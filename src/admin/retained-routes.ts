/** `/v1/retained`: what addresses remember, as pages, one by one, and forgotten on demand. */

import Type from 'typebox';
import { type Core, type Message, Pattern } from '../core/index.ts';
import { ADDRESS_POINTER, addressFromPath } from './address-path.ts';
import { type MessageView, messageSchema } from './message-schema.ts';
import type { AdminOptions } from './options.ts';
import { pageOf, pageQuery, paginate } from './paging.ts';
import { changeQuery } from './preconditions.ts';
import { notFound, problem } from './problems.ts';
import { problemResponse } from './schemas.ts';
import { whenStored } from './stored.ts';
import type { App } from './validation.ts';

const listQuery = Type.Object(
  {
    ...pageQuery.properties,
    filter: Type.String({
      default: '#',
      minLength: 1,
      maxLength: 65_535,
      description:
        'Only addresses under it, with + for one level and # for many. `#` leaves out those that begin with $.',
    }),
  },
  { additionalProperties: false },
);

export function addRetainedRoutes(app: App, options: AdminOptions): void {
  const { core } = options;
  const tags = ['messages'];
  const view = (message: Message): MessageView => options.jsonFromMessage(message) as MessageView;

  app.get(
    '/v1/retained',
    {
      schema: {
        summary: 'List what addresses remember',
        tags,
        querystring: listQuery,
        response: { 200: pageOf(messageSchema), '4xx': problemResponse },
      },
    },
    (request) => {
      const { filter, ...page } = request.query;
      return paginate(
        core.retained.match(patternOf(options, filter)),
        page,
        (message) => message.address,
        view,
      );
    },
  );

  app.get(
    '/v1/retained/*',
    {
      schema: {
        summary: 'Get what an address remembers',
        tags,
        response: { 200: messageSchema, '4xx': problemResponse },
      },
    },
    (request) => view(rememberedBy(core, addressFromPath(request))),
  );

  app.delete(
    '/v1/retained/*',
    {
      schema: {
        summary: 'Let an address forget',
        description: 'Subscribers are told nothing.',
        tags,
        querystring: changeQuery,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    async (request, reply) => {
      const address = addressFromPath(request);
      rememberedBy(core, address);
      if (!request.query.dryRun) {
        core.retained.forget(address);
        await whenStored(core);
      }
      reply.code(204);
      return null;
    },
  );
}

function patternOf(options: AdminOptions, filter: string): Pattern {
  try {
    return options.patternFromFilter(filter);
  } catch (error) {
    throw problem('invalid-request', 'query', '/filter', (error as Error).message);
  }
}

function rememberedBy(core: Core, address: string): Message {
  for (const message of core.retained.match(Pattern.of(address))) return message;
  throw nothingAt(address);
}

function nothingAt(address: string): Error {
  return notFound(ADDRESS_POINTER, `${address} remembers nothing`);
}
