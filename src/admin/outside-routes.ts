/**
 * What the routes of connections and of bridges have in common: both are definitions that another part checks and stores,
 * both may stand in the configuration, and both can be tried. Definitions are changed one after the other, because a bridge
 * needs its connection; what is only tried waits for nobody. Used by `connection-routes.ts`, `bridge-routes.ts`.
 */

import Type, { type Static, type TSchema } from 'typebox';
import type { BridgeView, ConnectionView, ProbeResult, PutResult } from '../bridges/index.ts';
import {
  bridgeNameParams,
  probeSchema,
  refuseConfigured,
  refusingName,
  triedSchema,
  viewFromProbe,
} from './bridge-schemas.ts';
import { addNamedReads } from './named-reads.ts';
import { found } from './object-names.ts';
import { changeQuery, checkPreconditions, etagOf, preconditions, type TakingTurns } from './preconditions.ts';
import { problemResponse } from './schemas.ts';
import type { App } from './validation.ts';

export interface OutsideKind<Item extends BridgeView | ConnectionView, View extends TSchema> {
  readonly what: 'bridge' | 'connection';
  /** For people, as in "Delete a bridge", "List bridges". */
  readonly one: string;
  readonly many: string;
  readonly schema: View;
  readonly texts: {
    readonly put: string;
    /** Of the body of PUT. */
    readonly definition: string;
    readonly examples?: readonly unknown[];
    /** Behind "Delete" in the summary, unless that is `one`. */
    readonly deleted?: string;
    readonly delete: string;
    readonly probe: string;
  };
  /** What checks and stores them. */
  readonly items: {
    list(): Iterable<Item>;
    get(name: string): Item | undefined;
    put(name: string, definition: unknown, options: { readonly dryRun: boolean }): Promise<PutResult>;
    remove(name: string, options: { readonly dryRun: boolean }): Promise<void>;
    probe(name: string): Promise<ProbeResult>;
  };
  show(item: Item): Static<View>;
}

const pathOf = (what: 'bridge' | 'connection'): string => `/v1/${what}s`;

/** What follows a colon is no part of the name, but what is to be done; in a route that colon is `::`. */
export const onePathOf = (what: 'bridge' | 'connection'): string => `${pathOf(what)}/:name(^[^:]+)`;

export function addOutsideRoutes<Item extends BridgeView | ConnectionView, View extends TSchema>(
  app: App,
  { what, one, many, schema: ownSchema, texts, items, show }: OutsideKind<Item, View>,
  inTurn: TakingTurns,
): void {
  const tag = `${what}s`;
  const tags = [tag];
  const path = pathOf(what);
  const onePath = onePathOf(what);
  // Checked above, by the type of `show`; here it could be anything.
  const schema: TSchema = ownSchema;
  const itemOf = (name: string): Item => found(items.get(name), what, name);
  const etag = ({ definition }: Item): string => etagOf(definition);

  addNamedReads(app, {
    tag,
    path,
    onePath,
    one,
    many,
    what,
    params: bridgeNameParams,
    schema: ownSchema,
    list: () => items.list(),
    get: (name) => items.get(name),
    nameOf: ({ name }) => name,
    etagOf: etag,
    show,
  });

  app.put(
    onePath,
    {
      schema: {
        summary: `Create or replace ${one}`,
        description: texts.put,
        consumes: ['application/json', 'application/yaml'],
        tags,
        params: bridgeNameParams,
        headers: preconditions,
        querystring: changeQuery,
        // Checked by the part that knows the kinds of them.
        body: Type.Unknown({
          description: texts.definition,
          ...(texts.examples === undefined ? {} : { examples: [...texts.examples] }),
        }),
        response: { 200: Type.Union([schema, triedSchema]), 201: schema, '4xx': problemResponse },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const check = (): void => {
        const before = items.get(name);
        checkPreconditions(request.headers, before && etag(before), `the ${what}`);
        refuseConfigured(what, before);
      };
      if (request.query.dryRun) {
        check();
        const { created, probe } = await items.put(name, request.body, { dryRun: true });
        return { dryRun: true as const, created, probe: probe === undefined ? null : viewFromProbe(probe) };
      }
      return inTurn(async () => {
        check();
        const { created } = await items.put(name, request.body, { dryRun: false });
        const item = itemOf(name);
        reply.code(created ? 201 : 200).header('etag', etag(item));
        if (created) reply.header('location', `${path}/${name}`);
        return show(item);
      });
    },
  );

  app.delete(
    onePath,
    {
      schema: {
        summary: `Delete ${texts.deleted ?? one}`,
        description: texts.delete,
        tags,
        params: bridgeNameParams,
        headers: preconditions,
        querystring: changeQuery,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    (request, reply) =>
      inTurn(async () => {
        const { name } = request.params;
        const item = itemOf(name);
        checkPreconditions(request.headers, etag(item), `the ${what}`);
        refuseConfigured(what, item);
        await refusingName(items.remove(name, { dryRun: request.query.dryRun }));
        reply.code(204);
        return null;
      }),
  );

  app.post(
    `${onePath}::probe`,
    {
      schema: {
        summary: `Try ${one}`,
        description: texts.probe,
        tags,
        params: bridgeNameParams,
        response: { 200: probeSchema, '4xx': problemResponse },
      },
    },
    async (request) => {
      const { name } = itemOf(request.params.name);
      return viewFromProbe(await refusingName(items.probe(name)));
    },
  );
}
