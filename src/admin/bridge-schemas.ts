/**
 * Shapes of connections to outside brokers and of bridges, as the HTTP API shows them, and the functions that show them.
 * Definitions come masked from `src/bridges`: no secret is ever here. Used by `connection-routes.ts`, `bridge-routes.ts`.
 */

import Type, { type Static } from 'typebox';
import { BRIDGE_STATES, type BridgeView, type ConnectionView, type ProbeResult } from '../bridges/index.ts';
import { CoreError } from '../core/index.ts';
import { problem, problemFromCore } from './problems.ts';
import { mappingCountersSchema } from './schemas.ts';

const count = (description: string) => Type.Integer({ minimum: 0, description });
const definition = (description: string) => Type.Record(Type.String(), Type.Unknown(), { description });
const orNull = (description: string) => Type.Union([Type.String(), Type.Null()], { description });

/** As `src/bridges` takes them. */
export const bridgeNameParams = Type.Object({
  name: Type.String({
    pattern: '^[a-z0-9][a-z0-9._-]{0,63}$',
    description: 'Lower-case letters, digits, `.`, `_` and `-`, at most 64, the first a letter or digit.',
  }),
});

const origin = Type.String({ description: 'stored: put here; configuration: it can only be changed there.' });

export const connectionSchema = Type.Object({
  name: Type.String(),
  origin,
  definition: definition('As it was put, with `{"kept": true}` in place of secrets that are text.'),
  bridges: Type.Array(Type.String(), { description: 'Bridges that use it.' }),
});

export const probeSchema = Type.Object({
  ok: Type.Boolean({ description: 'It connected.' }),
  failure: orNull('Why it could not, one of a closed list; null where it could.'),
  detail: Type.String({ description: 'For people.' }),
  milliseconds: Type.Number({ description: 'How long it took.' }),
});

/** What a PUT with `?dryRun=true` answers. */
export const triedSchema = Type.Object({
  dryRun: Type.Literal(true),
  created: Type.Boolean({ description: 'There is none of this name yet.' }),
  probe: Type.Union([probeSchema, Type.Null()], {
    description: 'What came of connecting; null: it was not tried.',
  }),
});

const statusSchema = Type.Object({
  state: Type.String({ description: `${BRIDGE_STATES.join(', ')}.` }),
  since: Type.String({ description: 'ISO 8601, UTC.' }),
  reason: Type.String({ description: 'Why it is not simply connected; empty: nothing to say.' }),
  failure: orNull('What kept it from connecting or ended it, one of a closed list.'),
  retryAt: orNull('When it tries again, ISO 8601; null: it does not have to.'),
  attempts: count('To connect, since it was last connected.'),
  errors: Type.Array(Type.Object({ at: Type.String(), text: Type.String() }), {
    description: 'The newest first, at most 10.',
  }),
  lag: Type.Object(
    {
      messages: count('Waiting in the buffer or on their way.'),
      bytes: count('Of these.'),
      seconds: Type.Number({ description: 'Age of the oldest of these; 0 without any.' }),
    },
    { description: 'What is not done yet.' },
  ),
  counters: Type.Object(
    {
      taken: count('What it was given, or what came from outside.'),
      done: count('What the other side has, or what is published here.'),
      doneBytes: count('Of these.'),
      repeated: count('Sent again because an answer did not come.'),
      deadLettered: count('Sent to the queue for dead letters.'),
      refused: count('In: given back to the other side, because it could not be stored.'),
      dropped: Type.Record(Type.String(), Type.Integer(), { description: 'By reason.' }),
    },
    {
      description:
        'Since the start of the gateway or the last reset: taken = done + deadLettered + all of dropped + refused + lag.messages.',
    },
  ),
});

export const bridgeSchema = Type.Object({
  name: Type.String(),
  origin,
  definition: definition('With every default filled in.'),
  status: statusSchema,
  mappings: Type.Array(mappingCountersSchema, { description: 'Counters of its mappings, in their order.' }),
});

export const forgottenSchema = Type.Object({ count: count('Messages that were forgotten.') });

export function viewFromConnection(view: ConnectionView): Static<typeof connectionSchema> {
  return {
    name: view.name,
    origin: view.origin,
    definition: { ...view.definition },
    bridges: [...view.bridges],
  };
}

export function viewFromBridge(view: BridgeView): Static<typeof bridgeSchema> {
  const { state, sinceMs, reason, failure, retryAtMs, attempts, errors, lag, counters } = view.status;
  return {
    name: view.name,
    origin: view.origin,
    definition: { ...view.definition },
    status: {
      state,
      since: new Date(sinceMs).toISOString(),
      reason,
      failure,
      retryAt: retryAtMs === null ? null : new Date(retryAtMs).toISOString(),
      attempts,
      errors: errors.map(({ timeMs, text }) => ({ at: new Date(timeMs).toISOString(), text })),
      lag: { ...lag },
      counters: { ...counters, dropped: { ...counters.dropped } },
    },
    mappings: view.mappings.map((each) => ({ ...each, dropped: { ...each.dropped } })),
  };
}

export function viewFromProbe({
  ok,
  failure,
  detail,
  milliseconds,
}: ProbeResult): Static<typeof probeSchema> {
  return { ok, failure, detail, milliseconds };
}

/** Throws a problem for what stands in the configuration. */
export function refuseConfigured(what: string, view: { readonly origin: string } | undefined): void {
  if (view?.origin !== 'configuration') return;
  const detail = `the ${what} stands in the configuration, and can only be changed there`;
  throw problem('conflict', 'path', '/name', detail);
}

/** What is refused of something that is there concerns its name: the request says no more of it. */
export async function refusingName<Result>(change: Promise<Result>): Promise<Result> {
  try {
    return await change;
  } catch (error) {
    if (!(error instanceof CoreError)) throw error;
    throw problemFromCore(new CoreError(error.code, error.message), 'path', '/name');
  }
}
