/**
 * `/v1/users`: who may connect with a password. Passwords come in and never go out, nor do their hashes. What changes
 * applies at once: clients that came in as somebody who is gone, or has another password or other groups now, are
 * disconnected. Users that stand in files are shown, and can only be changed there.
 */

import Type from 'typebox';
import type { UserInfo } from '../auth/users.ts';
import { CoreError } from '../core/index.ts';
import { addNamedReads } from './named-reads.ts';
import { found, nameParams } from './object-names.ts';
import type { AdminOptions } from './options.ts';
import { checkPreconditions, etagOf, preconditions, takingTurns } from './preconditions.ts';
import { notFound, problem, problemFromCore } from './problems.ts';
import { problemResponse } from './schemas.ts';
import type { App } from './validation.ts';

const newNameParams = Type.Object({
  name: Type.String({
    maxLength: 255,
    pattern: '^[^\\u0000-\\u001f\\u007f-\\u009f]+$',
    description: 'Any characters but control characters.',
  }),
});

const userSchema = Type.Object({
  name: Type.String(),
  groups: Type.Array(Type.String()),
  source: Type.String({ description: 'api, configuration or file.' }),
  scram: Type.Boolean({ description: 'It can come in by SCRAM: its password was given in clear.' }),
});

const changeSchema = Type.Object(
  {
    password: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'In clear; kept as hashes only. A new user needs it, or a hash.',
      }),
    ),
    passwordHash: Type.Optional(
      Type.String({ minLength: 1, description: 'As in a password file, instead of `password`.' }),
    ),
    groups: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 255 }), {
        maxItems: 100,
        description: 'Absent: as before, none for a new user.',
      }),
    ),
  },
  { additionalProperties: false },
);

export function addUserRoutes(app: App, { users }: AdminOptions): void {
  const tags = ['users'];
  const inTurn = takingTurns();

  addNamedReads(app, {
    tag: 'users',
    path: '/v1/users',
    onePath: '/v1/users/:name',
    one: 'a user',
    many: 'users',
    what: 'user',
    schema: userSchema,
    list: () => users.list(),
    get: (name) => users.get(name),
    nameOf: ({ name }) => name,
    etagOf: etagOfUser,
    show: viewFromUser,
  });

  app.put(
    '/v1/users/:name',
    {
      schema: {
        summary: 'Create or change a user',
        description: 'What is absent stays as it is. Stored before the answer.',
        consumes: ['application/json', 'application/yaml'],
        tags,
        params: newNameParams,
        headers: preconditions,
        body: changeSchema,
        response: { 200: userSchema, 201: userSchema, '4xx': problemResponse },
      },
    },
    (request, reply) =>
      inTurn(async () => {
        const { name } = request.params;
        const before = users.get(name);
        checkPreconditions(request.headers, before && etagOfUser(before), `user ${name}`);
        refuseFixed(before);
        try {
          await users.put(name, request.body);
        } catch (error) {
          throw error instanceof CoreError ? problemFromCore(error) : error;
        }
        const user = found(users.get(name), 'user', name);
        reply.code(before === undefined ? 201 : 200).header('etag', etagOfUser(user));
        return viewFromUser(user);
      }),
  );

  app.delete(
    '/v1/users/:name',
    {
      schema: {
        summary: 'Remove a user',
        tags,
        params: nameParams,
        headers: preconditions,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    (request, reply) =>
      inTurn(async () => {
        const { name } = request.params;
        const user = found(users.get(name), 'user', name);
        refuseFixed(user);
        checkPreconditions(request.headers, etagOfUser(user), `user ${name}`);
        if (!(await users.remove(name))) throw notFound('/name', `there is no user ${name}`);
        reply.code(204);
        return null;
      }),
  );
}

function refuseFixed(user: UserInfo | undefined): void {
  if (user === undefined || user.source === 'api') return;
  const where = user.source === 'file' ? 'the password file' : 'the configuration';
  throw problem('conflict', 'path', '/name', `the user stands in ${where}, and can only be changed there`);
}

/** Of what is shown: a password that is changed alone leaves it as it is. */
function etagOfUser(user: UserInfo): string {
  return etagOf(viewFromUser(user));
}

/** Field by field: whatever a user holds beside, it stays here. */
function viewFromUser({ name, groups, source, scram }: UserInfo) {
  return { name, groups: [...groups], source, scram };
}
