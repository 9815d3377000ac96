/** `rosettamq sessions`. */

import { ApiClient, type ApiFlags } from './api-client.ts';
import { type Column, type OutputFormat, printJson, printList, printOne, tellMore } from './output.ts';

interface Session {
  readonly id: string;
  readonly durable: boolean;
  readonly attached: boolean;
  readonly queuedCount: number;
  readonly unsettledCount: number;
  readonly subscriptionCount: number;
}

interface Subscription {
  readonly pattern: string;
  readonly reliability: number;
}

type Flags = ApiFlags & { readonly output: OutputFormat };

const COLUMNS: readonly Column<Session>[] = [
  { title: 'ID', text: ({ id }) => id },
  { title: 'CONNECTED', text: ({ attached }) => (attached ? 'yes' : 'no') },
  { title: 'DURABLE', text: ({ durable }) => (durable ? 'yes' : 'no') },
  { title: 'WAITING', text: ({ queuedCount }) => queuedCount },
  { title: 'UNSETTLED', text: ({ unsettledCount }) => unsettledCount },
  { title: 'SUBSCRIPTIONS', text: ({ subscriptionCount }) => subscriptionCount },
];

export async function listSessions(flags: Flags & { readonly limit: number }): Promise<void> {
  const { items, more } = await new ApiClient(flags).list('/v1/sessions', flags.limit);
  printList(flags.output, items as Session[], COLUMNS);
  tellMore(more, flags.limit);
}

export async function showSession(id: string, flags: Flags): Promise<void> {
  const session = (await new ApiClient(flags).call('GET', pathOfSession(id))) as Session & {
    readonly subscriptions: readonly Subscription[];
  };
  if (flags.output === 'json') {
    printJson(session);
    return;
  }
  printOne('table', session, COLUMNS);
  if (session.subscriptions.length === 0) return;
  process.stdout.write('\n');
  printList('table', session.subscriptions, [
    { title: 'SUBSCRIPTION', text: ({ pattern }) => pattern },
    { title: 'RELIABILITY', text: ({ reliability }) => reliability },
  ]);
}

export async function endSession(id: string, flags: ApiFlags): Promise<void> {
  await new ApiClient(flags).call('DELETE', pathOfSession(id));
}

const pathOfSession = (id: string): string => `/v1/sessions/${encodeURIComponent(id)}`;
