/** `rosettamq retained`. */

import { ApiClient, type ApiFlags, pathOf } from './api-client.ts';
import { bytesOfBody, type ShownMessage, shortBody } from './message-body.ts';
import { type Column, type OutputFormat, printJson, printList, tellMore } from './output.ts';

type Flags = ApiFlags & { readonly output: OutputFormat };

const BODY_CHARS_MAX = 60;
const COLUMNS: readonly Column<ShownMessage>[] = [
  { title: 'ADDRESS', text: ({ address }) => address },
  { title: 'SINCE', text: ({ timestampMs }) => new Date(timestampMs).toISOString() },
  { title: 'BODY', text: (message) => shortBody(message, BODY_CHARS_MAX) },
];

export async function listRetained(
  filter: string | undefined,
  flags: Flags & { readonly limit: number },
): Promise<void> {
  const query = filter === undefined ? '' : `?${new URLSearchParams({ filter })}`;
  const { items, more } = await new ApiClient(flags).list(`/v1/retained${query}`, flags.limit);
  printList(flags.output, items as ShownMessage[], COLUMNS);
  tellMore(more, flags.limit);
}

/** The body as it is, byte for byte, so that it can go into a file. */
export async function getRetained(address: string, flags: Flags): Promise<void> {
  const message = (await new ApiClient(flags).call('GET', `/v1/retained/${pathOf(address)}`)) as ShownMessage;
  if (flags.output === 'json') {
    printJson(message);
    return;
  }
  process.stdout.write(bytesOfBody(message));
  if (process.stdout.isTTY) process.stdout.write('\n');
}

export async function removeRetained(address: string, flags: ApiFlags): Promise<void> {
  await new ApiClient(flags).call('DELETE', `/v1/retained/${pathOf(address)}`);
}
