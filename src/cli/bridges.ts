/** `rosettamq bridges`: what leads messages to outside brokers and in from them. */

import { ApiClient, type ApiFlags } from './api-client.ts';
import { type ProbeResult, putDefinition, readDefinition, tellProbe } from './definitions.ts';
import { type Column, type OutputFormat, printJson, printList, printOne, tellMore } from './output.ts';

interface Bridge {
  readonly name: string;
  readonly origin: string;
  readonly definition: { readonly connection: string; readonly direction: string };
  readonly status: {
    readonly state: string;
    readonly since: string;
    readonly reason: string;
    readonly retryAt: string | null;
    readonly errors: readonly { readonly at: string; readonly text: string }[];
    readonly lag: { readonly messages: number; readonly bytes: number; readonly seconds: number };
    readonly counters: {
      readonly taken: number;
      readonly done: number;
      readonly deadLettered: number;
      readonly dropped: Readonly<Record<string, number>>;
    };
  };
}

type Flags = ApiFlags & { readonly output: OutputFormat };

const COLUMNS: readonly Column<Bridge>[] = [
  { title: 'NAME', text: ({ name }) => name },
  { title: 'CONNECTION', text: ({ definition }) => definition.connection },
  { title: 'DIRECTION', text: ({ definition }) => definition.direction },
  { title: 'STATE', text: ({ status }) => status.state },
  { title: 'REASON', text: ({ status }) => status.reason },
  { title: 'LAG', text: ({ status }) => status.lag.messages },
  { title: 'DONE', text: ({ status }) => status.counters.done },
];

const DETAILS: readonly Column<Bridge>[] = [
  ...COLUMNS,
  { title: 'LAG SECONDS', text: ({ status }) => Math.round(status.lag.seconds) },
  { title: 'LAG BYTES', text: ({ status }) => status.lag.bytes },
  { title: 'TAKEN', text: ({ status }) => status.counters.taken },
  { title: 'DEAD LETTERS', text: ({ status }) => status.counters.deadLettered },
  { title: 'DROPPED', text: ({ status }) => droppedText(status.counters.dropped) },
  { title: 'SINCE', text: ({ status }) => status.since },
  { title: 'RETRIES AT', text: ({ status }) => status.retryAt ?? '' },
  { title: 'ORIGIN', text: ({ origin }) => origin },
];

export async function listBridges(flags: Flags & { readonly limit: number }): Promise<void> {
  const { items, more } = await new ApiClient(flags).list('/v1/bridges', flags.limit);
  printList(flags.output, items as Bridge[], COLUMNS);
  tellMore(more, flags.limit);
}

export async function showBridge(name: string, flags: Flags): Promise<void> {
  const bridge = (await new ApiClient(flags).call('GET', pathOfBridge(name))) as Bridge;
  printOne(flags.output, bridge, DETAILS);
  if (flags.output === 'json') return;
  if (bridge.status.errors.length > 0) {
    process.stdout.write('\n');
    printList('table', bridge.status.errors, [
      { title: 'AT', text: ({ at }) => at },
      { title: 'ERROR', text: ({ text }) => text },
    ]);
  }
  process.stdout.write('\n');
  printJson(bridge.definition);
}

export async function putBridge(
  name: string,
  file: string | undefined,
  flags: Flags & { readonly dryRun?: boolean },
): Promise<void> {
  const definition = await readDefinition(file);
  await putDefinition(new ApiClient(flags), pathOfBridge(name), name, definition, flags);
}

export async function deleteBridge(name: string, flags: ApiFlags): Promise<void> {
  await new ApiClient(flags).call('DELETE', pathOfBridge(name));
}

export async function probeBridge(name: string, flags: Flags): Promise<void> {
  const result = await new ApiClient(flags).call('POST', `${pathOfBridge(name)}:probe`);
  tellProbe(result as ProbeResult, flags.output);
}

/** `pause` or `resume`. */
export async function switchBridge(verb: 'pause' | 'resume', name: string, flags: Flags): Promise<void> {
  const bridge = (await new ApiClient(flags).call('POST', `${pathOfBridge(name)}:${verb}`)) as Bridge;
  printOne(flags.output, bridge, COLUMNS);
}

export async function resetBridge(name: string, flags: Flags): Promise<void> {
  const answer = (await new ApiClient(flags).call('POST', `${pathOfBridge(name)}:reset`)) as {
    readonly count: number;
  };
  if (flags.output === 'json') printJson(answer);
  else console.log(`${answer.count} messages forgotten`);
}

const droppedText = (dropped: Readonly<Record<string, number>>): string =>
  Object.entries(dropped)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${reason} ${count}`)
    .join(', ') || '0';

const pathOfBridge = (name: string): string => `/v1/bridges/${encodeURIComponent(name)}`;
