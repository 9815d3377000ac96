/**
 * `/v1/acl`: who may do what. Rules made here are stored in the data folder and apply at once, to connected clients too;
 * those of the configuration and of the access file are shown, and can only be changed there. What a rule is made of is
 * judged by `src/auth/acl-rule.ts`, whose refusals point at the field.
 */

import Type from 'typebox';
import { ruleFromDefinition } from '../auth/acl-rule.ts';
import type { Action } from '../core/index.ts';
import { found, nameParams } from './object-names.ts';
import type { AdminOptions } from './options.ts';
import { pageOf, pageQuery, paginate } from './paging.ts';
import { changeQuery, checkPreconditions, etagOf, preconditions } from './preconditions.ts';
import { notFound, problem } from './problems.ts';
import { problemResponse } from './schemas.ts';
import type { App } from './validation.ts';

/** Those of rules in files have others. */
const newNameParams = Type.Object({
  name: Type.String({
    pattern: '^[A-Za-z0-9_.@-]{1,255}$',
    description: 'Letters, digits, `.`, `_`, `-` and `@`, at most 255.',
  }),
});

const ruleSchema = Type.Object({
  name: Type.String({ description: 'Of a rule in a file: where it stands.' }),
  source: Type.String({ description: 'api, configuration or file.' }),
  definition: Type.Unknown({
    description: 'As it was put; of a rule in the access file, the text of its line.',
  }),
});

const definitionExample = { effect: 'allow', group: 'sensors', actions: ['write'], pattern: 'sensors/%u/#' };

const question = Type.Object(
  {
    user: Type.String({ default: '', description: 'Empty: none was given.' }),
    client: Type.String({ default: '', description: 'What the client calls itself.' }),
    groups: Type.Array(Type.String(), { default: [], maxItems: 1_000 }),
    action: Type.Union(
      [Type.Literal('read'), Type.Literal('write'), Type.Literal('subscribe'), Type.Literal('configure')],
      { description: 'In the words of rules.' },
    ),
    address: Type.String({ minLength: 1, description: 'An address; a filter where it is subscribed to.' }),
  },
  { additionalProperties: false },
);

const ACTIONS = {
  read: 'read',
  write: 'publish',
  subscribe: 'subscribe',
  configure: 'configure',
} as const satisfies Record<string, Action>;

export function addAclRoutes(app: App, { core, accessRules: rules }: AdminOptions): void {
  const tags = ['access'];

  app.get(
    '/v1/acl',
    {
      schema: {
        summary: 'List access rules',
        tags,
        querystring: pageQuery,
        response: { 200: pageOf(ruleSchema), '4xx': problemResponse },
      },
    },
    (request) =>
      paginate(
        rules.list(),
        request.query,
        ({ name }) => name,
        (rule) => rule,
      ),
  );

  app.put(
    '/v1/acl',
    {
      schema: {
        summary: 'Replace all access rules that were made here',
        description: 'All of them or, where one is wrong, none. Those in files stay.',
        consumes: ['application/json', 'application/yaml'],
        tags,
        body: Type.Record(Type.String(), Type.Unknown(), {
          description: 'Definitions by name.',
          examples: [{ 'sensors-write': definitionExample }],
        }),
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    async (request, reply) => {
      await rules.replaceAll(new Map(Object.entries(request.body)));
      reply.code(204);
      return null;
    },
  );

  app.get(
    '/v1/acl/:name',
    {
      schema: {
        summary: 'Get an access rule',
        tags,
        params: nameParams,
        response: { 200: ruleSchema, '4xx': problemResponse },
      },
    },
    (request, reply) => {
      const { name } = request.params;
      const rule = found(rules.get(name), 'rule', name);
      reply.header('etag', etagOf(rule.definition));
      return rule;
    },
  );

  app.put(
    '/v1/acl/:name',
    {
      schema: {
        summary: 'Create or replace an access rule',
        description: 'Applies at once and is stored before the answer.',
        consumes: ['application/json', 'application/yaml'],
        tags,
        params: newNameParams,
        headers: preconditions,
        querystring: changeQuery,
        body: Type.Unknown({
          description:
            'effect (allow or deny), one of user, client and group or none for everybody, actions (read, write, ' +
            'subscribe, configure, readwrite, all), pattern (with +, #, %u and %c).',
          examples: [definitionExample],
        }),
        response: { 200: ruleSchema, 201: ruleSchema, '4xx': problemResponse },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const before = rules.get(name);
      if (before !== undefined && before.source !== 'api')
        throw problem('conflict', 'path', '/name', STANDS_IN_FILE);
      checkPreconditions(request.headers, before && etagOf(before.definition), 'the rule');
      const { dryRun } = request.query;
      if (dryRun) ruleFromDefinition(request.body);
      else await rules.put(name, request.body);
      const rule = dryRun ? { name, source: 'api', definition: request.body } : rules.get(name);
      if (rule === undefined) throw notFound('/name', `rule ${name} was removed in the meantime`);
      reply.code(before === undefined ? 201 : 200).header('etag', etagOf(rule.definition));
      return rule;
    },
  );

  app.delete(
    '/v1/acl/:name',
    {
      schema: {
        summary: 'Remove an access rule',
        tags,
        params: nameParams,
        headers: preconditions,
        querystring: changeQuery,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const before = rules.get(name);
      if (before !== undefined && before.source !== 'api')
        throw problem('conflict', 'path', '/name', STANDS_IN_FILE);
      checkPreconditions(request.headers, etagOf(found(before, 'rule', name).definition), 'the rule');
      if (!request.query.dryRun) await rules.remove(name);
      reply.code(204);
      return null;
    },
  );

  app.post(
    '/v1/acl::test',
    {
      schema: {
        summary: 'May this client?',
        description: 'Answers from the rules that apply now.',
        tags,
        body: question,
        response: {
          200: Type.Object({ allowed: Type.Boolean() }),
          '4xx': problemResponse,
        },
      },
    },
    (request) => {
      const { user, client, groups, action, address } = request.body;
      // A principal of its own, so that nothing is remembered for a client that is there.
      return { allowed: core.access.may({ user, groups, clientId: client }, ACTIONS[action], address) };
    },
  );
}

const STANDS_IN_FILE = 'the rule stands in a file, and can only be changed there';
