/** `rosettamq connections`: outside brokers that bridges lead to. Secrets are never shown, whatever the format. */

import { ApiClient, type ApiFlags } from './api-client.ts';
import { type ProbeResult, putDefinition, readDefinition, tellProbe } from './definitions.ts';
import { type Column, type OutputFormat, printJson, printList, printOne, tellMore } from './output.ts';

interface Connection {
  readonly name: string;
  readonly origin: string;
  readonly definition: Readonly<Record<string, unknown>>;
  readonly bridges: readonly string[];
}

type Flags = ApiFlags & { readonly output: OutputFormat };

const COLUMNS: readonly Column<Connection>[] = [
  { title: 'NAME', text: ({ name }) => name },
  { title: 'TYPE', text: ({ definition }) => String(definition.type ?? '') },
  { title: 'BRIDGES', text: ({ bridges }) => bridges.join(',') },
  { title: 'ORIGIN', text: ({ origin }) => origin },
];

export async function listConnections(flags: Flags & { readonly limit: number }): Promise<void> {
  const { items, more } = await new ApiClient(flags).list('/v1/connections', flags.limit);
  printList(flags.output, items as Connection[], COLUMNS);
  tellMore(more, flags.limit);
}

export async function showConnection(name: string, flags: Flags): Promise<void> {
  const connection = (await new ApiClient(flags).call('GET', pathOfConnection(name))) as Connection;
  printOne(flags.output, connection, COLUMNS);
  if (flags.output === 'json') return;
  process.stdout.write('\n');
  printJson(connection.definition);
}

export async function putConnection(
  name: string,
  file: string | undefined,
  flags: Flags & { readonly dryRun?: boolean },
): Promise<void> {
  const definition = await readDefinition(file);
  await putDefinition(new ApiClient(flags), pathOfConnection(name), name, definition, flags);
}

export async function deleteConnection(name: string, flags: ApiFlags): Promise<void> {
  await new ApiClient(flags).call('DELETE', pathOfConnection(name));
}

export async function probeConnection(name: string, flags: Flags): Promise<void> {
  const result = await new ApiClient(flags).call('POST', `${pathOfConnection(name)}:probe`);
  tellProbe(result as ProbeResult, flags.output);
}

const pathOfConnection = (name: string): string => `/v1/connections/${encodeURIComponent(name)}`;
