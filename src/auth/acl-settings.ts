/** Settings of rights, section `auth.acl` of the configuration file. Read by `access.ts`. */

import { type Static, Type } from '../host.ts';

const name = (description: string) => Type.Optional(Type.String({ maxLength: 65_535, description }));

const aclRule = Type.Object(
  {
    effect: Type.Union([Type.Literal('allow'), Type.Literal('deny')], {
      description: 'A rule that denies comes before every rule that allows.',
    }),
    user: name(
      'Of this user; empty: of clients that gave no user name. Of user, client and group one at most.',
    ),
    client: name('Of clients with this identifier.'),
    group: name('Of the users of this group.'),
    actions: Type.Array(
      Type.Union([
        Type.Literal('read'),
        Type.Literal('write'),
        Type.Literal('subscribe'),
        Type.Literal('configure'),
        Type.Literal('readwrite'),
        Type.Literal('all'),
      ]),
      {
        minItems: 1,
        description:
          'read (messages, and subscribing to what is covered), write (publish), subscribe, configure (declare, change ' +
          'and delete), readwrite, all.',
      },
    ),
    pattern: Type.String({
      minLength: 1,
      maxLength: 65_535,
      description:
        'Addresses, as a topic filter (+ one level, # the rest); %u is the user’s name, %c the client’s identifier.',
    }),
  },
  { additionalProperties: false },
);

export const aclSettings = Type.Object(
  {
    default: Type.Union([Type.Literal('auto'), Type.Literal('allow'), Type.Literal('deny')], {
      default: 'auto',
      description:
        'What holds where no rule speaks. auto: everything is allowed while there is no rule at all, and denied as ' +
        'soon as there is one.',
    }),
    file: Type.String({
      default: '',
      description:
        'Rules in the syntax of Mosquitto’s acl_file; read again when it changes. Empty: there is none.',
    }),
    rules: Type.Array(aclRule, {
      default: [],
      maxItems: 100_000,
      description:
        'Rules: effect (allow or deny), one of user, client and group or none for everybody, actions (read, write, ' +
        'subscribe, configure, readwrite, all) and pattern (a topic filter with %u and %c). Such as ' +
        '{effect: allow, group: sensors, actions: [write], pattern: "sensors/%u/#"}.',
    }),
    rulesMax: Type.Integer({
      default: 100_000,
      minimum: 1,
      description: 'Rules of the file, and rules made over the API, each.',
    }),
    answersPerClientMax: Type.Integer({
      default: 256,
      minimum: 1,
      description: 'Addresses for which a client’s rights are remembered.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'Who may do what, in every protocol.' },
);

export type AclSettings = Static<typeof aclSettings>;
