/** `rosettamq queues`. */

import { ApiClient, type ApiFlags } from './api-client.ts';
import { type Column, type OutputFormat, printList, tellMore } from './output.ts';

interface Counts {
  readonly readyCount: number;
  readonly unsettledCount: number;
  readonly consumerCount: number;
}

type ListFlags = ApiFlags & { readonly output: OutputFormat; readonly limit: number };

const COUNTS: readonly Column<Counts>[] = [
  { title: 'WAITING', text: ({ readyCount }) => readyCount },
  { title: 'UNSETTLED', text: ({ unsettledCount }) => unsettledCount },
  { title: 'CONSUMERS', text: ({ consumerCount }) => consumerCount },
];

export async function listQueues(flags: ListFlags): Promise<void> {
  const { items, more } = await new ApiClient(flags).list('/v1/queues', flags.limit);
  printList<Counts & { readonly name: string }>(flags.output, items as never[], [
    { title: 'NAME', text: ({ name }) => name },
    ...COUNTS,
  ]);
  tellMore(more, flags.limit);
}

export async function listGroups(queue: string, flags: ListFlags): Promise<void> {
  const { items, more } = await new ApiClient(flags).list(pathOfGroups(queue), flags.limit);
  printList<Counts & { readonly id: string }>(flags.output, items as never[], [
    { title: 'GROUP', text: ({ id }) => id },
    ...COUNTS,
  ]);
  tellMore(more, flags.limit);
}

export async function deleteGroup(queue: string, group: string, flags: ApiFlags): Promise<void> {
  await new ApiClient(flags).call('DELETE', `${pathOfGroups(queue)}/${encodeURIComponent(group)}`);
}

const pathOfGroups = (queue: string): string => `/v1/queues/${encodeURIComponent(queue)}/groups`;
