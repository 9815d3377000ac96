/** `rosettamq acl`. */

import { ApiClient, type ApiFlags } from './api-client.ts';
import { EXIT_NO, EXIT_WRONG_ARGUMENTS, Failure } from './failure.ts';
import { type Column, type OutputFormat, printJson, printList, tellMore } from './output.ts';

interface Definition {
  readonly effect: string;
  readonly user?: string;
  readonly client?: string;
  readonly group?: string;
  readonly actions: readonly string[];
  readonly pattern: string;
}

interface Rule {
  readonly name: string;
  readonly source: string;
  /** The text of its line where it stands in a file. */
  readonly definition: Definition | string;
}

interface Who {
  readonly user?: string;
  readonly client?: string;
  readonly group?: string;
}

const COLUMNS: readonly Column<Rule>[] = [
  { title: 'NAME', text: ({ name }) => name },
  { title: 'EFFECT', text: ({ definition }) => (typeof definition === 'string' ? '' : definition.effect) },
  { title: 'WHO', text: ({ definition }) => (typeof definition === 'string' ? '' : whoOf(definition)) },
  {
    title: 'ACTIONS',
    text: ({ definition }) => (typeof definition === 'string' ? '' : definition.actions.join(',')),
  },
  {
    title: 'PATTERN',
    text: ({ definition }) => (typeof definition === 'string' ? definition : definition.pattern),
  },
];

function whoOf({ user, client, group }: Definition): string {
  if (user !== undefined) return `user ${user === '' ? '(none)' : user}`;
  if (client !== undefined) return `client ${client}`;
  return group === undefined ? 'everybody' : `group ${group}`;
}

export async function listRules(
  flags: ApiFlags & { readonly output: OutputFormat; readonly limit: number },
): Promise<void> {
  const { items, more } = await new ApiClient(flags).list('/v1/acl', flags.limit);
  printList(flags.output, items as Rule[], COLUMNS);
  tellMore(more, flags.limit);
}

export async function addRule(
  name: string,
  effect: string,
  actions: string,
  pattern: string,
  flags: ApiFlags & Who,
): Promise<void> {
  const { user, client, group } = flags;
  const who = Object.fromEntries(
    Object.entries({ user, client, group }).filter(([, value]) => value !== undefined),
  );
  const definition = { effect, ...who, actions: actions.split(','), pattern };
  await new ApiClient(flags).call('PUT', pathOfRule(name), definition);
}

export async function removeRule(name: string, flags: ApiFlags): Promise<void> {
  await new ApiClient(flags).call('DELETE', pathOfRule(name));
}

/** Words of rules, to what a client does. */
const ACTIONS: ReadonlyMap<string, string> = new Map([
  ['read', 'read'],
  ['write', 'write'],
  ['subscribe', 'subscribe'],
  ['configure', 'configure'],
]);

export async function testRules(
  action: string,
  address: string,
  flags: ApiFlags & {
    readonly output: OutputFormat;
    readonly user: string;
    readonly client: string;
    readonly group?: readonly string[];
  },
): Promise<void> {
  if (!ACTIONS.has(action)) {
    throw new Failure(`the action is one of ${[...ACTIONS.keys()].join(', ')}`, EXIT_WRONG_ARGUMENTS);
  }
  const answer = (await new ApiClient(flags).call('POST', '/v1/acl:test', {
    user: flags.user,
    client: flags.client,
    groups: flags.group ?? [],
    action,
    address,
  })) as { readonly allowed: boolean };
  if (flags.output === 'json') printJson(answer);
  else console.log(answer.allowed ? 'allowed' : 'denied');
  if (!answer.allowed) process.exitCode = EXIT_NO;
}

const pathOfRule = (name: string): string => `/v1/acl/${encodeURIComponent(name)}`;
