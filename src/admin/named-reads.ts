/**
 * The two routes that everything with a name has: its list, in pages, and one of it by its name, with the ETag that a change
 * of it can be held against. Used by the routes of each kind of object.
 */

import type { Static, TSchema } from 'typebox';
import { found, nameParams } from './object-names.ts';
import { pageOf, pageQuery, paginate } from './paging.ts';
import { problemResponse } from './schemas.ts';
import type { App } from './validation.ts';

export interface NamedObjects<Item, View extends TSchema> {
  readonly tag: string;
  /** Of the list, and of one of them: that ends with the parameter `name`. */
  readonly path: string;
  readonly onePath: string;
  /** For people, as in "Get a queue", "List queues", "there is no queue". */
  readonly one: string;
  readonly many: string;
  readonly what: string;
  /** Shape of the name in the path; any unless given. */
  readonly params?: TSchema;
  readonly schema: View;
  list(): Iterable<Item>;
  get(name: string): Item | undefined;
  nameOf(item: Item): string;
  etagOf(item: Item): string;
  show(item: Item): Static<View>;
}

export function addNamedReads<Item, View extends TSchema>(app: App, objects: NamedObjects<Item, View>): void {
  const tags = [objects.tag];
  // Checked above, by the type of `show`; here it could be anything.
  const schema: TSchema = objects.schema;

  app.get(
    objects.path,
    {
      schema: {
        summary: `List ${objects.many}`,
        tags,
        querystring: pageQuery,
        response: { 200: pageOf(schema), '4xx': problemResponse },
      },
    },
    ({ query }) =>
      paginate(
        objects.list(),
        query,
        (item) => objects.nameOf(item),
        (item) => objects.show(item),
      ),
  );

  app.get(
    objects.onePath,
    {
      schema: {
        summary: `Get ${objects.one}`,
        tags,
        params: objects.params ?? nameParams,
        response: { 200: schema, '4xx': problemResponse },
      },
    },
    (request, reply) => {
      const { name } = request.params as { readonly name: string };
      const item = found(objects.get(name), objects.what, name);
      reply.header('etag', objects.etagOf(item));
      return objects.show(item);
    },
  );
}
