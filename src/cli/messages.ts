/** `rosettamq publish` and `rosettamq subscribe`. */

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { ApiClient, type ApiFlags, pathOf } from './api-client.ts';
import { EXIT_WRONG_ARGUMENTS, Failure } from './failure.ts';
import { bytesOfBody, type ShownMessage } from './message-body.ts';
import { type OutputFormat, showText } from './output.ts';
import { readStandardInput } from './password-input.ts';

const BODY_BYTES_MAX = 64 * 1024 * 1024;

export interface PublishFlags extends ApiFlags {
  readonly message?: string;
  readonly file?: string;
  readonly lines?: boolean;
  readonly reliability: string;
  readonly retain?: boolean;
  readonly contentType?: string;
  readonly replyTo?: string;
  readonly correlation?: string;
  readonly key?: string;
  readonly header?: readonly string[];
  readonly expiryMs?: number;
}

export async function publish(address: string, flags: PublishFlags): Promise<void> {
  const sources = [flags.message, flags.file, flags.lines].filter((each) => each !== undefined);
  if (sources.length !== 1) {
    throw new Failure('give the body with one of --message, --file and --lines', EXIT_WRONG_ARGUMENTS);
  }
  const client = new ApiClient(flags);
  const path = `/v1/messages/${pathOf(address)}`;
  const rest = fieldsFrom(flags);
  const send = async (body: object): Promise<void> => {
    const receipt = (await client.call('POST', path, { ...body, ...rest })) as { readonly routed: boolean };
    if (!receipt.routed) console.error('rosettamq: published, but nobody and nothing wanted it');
  };
  if (flags.lines === true) {
    for await (const line of createInterface({ input: process.stdin })) await send({ body: line });
  } else if (flags.message !== undefined) await send({ body: flags.message });
  else await send({ bodyBase64: (await readBody(flags.file ?? '-')).toString('base64') });
}

async function readBody(file: string): Promise<Buffer> {
  if (file === '-') return readStandardInput(BODY_BYTES_MAX);
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Failure(`--file: ${(error as Error).message}`, EXIT_WRONG_ARGUMENTS);
  }
}

function fieldsFrom(flags: PublishFlags): object {
  const { contentType, replyTo, correlation, key, expiryMs } = flags;
  const properties = Object.fromEntries(
    Object.entries({ contentType, replyTo, correlation }).filter(([, value]) => value !== undefined),
  );
  return {
    reliability: Number(flags.reliability),
    retain: flags.retain === true,
    ...(key === undefined ? {} : { key }),
    ...(expiryMs === undefined ? {} : { expiryMs }),
    properties,
    headers: (flags.header ?? []).map(headerFrom),
  };
}

function headerFrom(text: string): { readonly name: string; readonly value: string } {
  const equals = text.indexOf('=');
  if (equals <= 0) throw new Failure('--header: write --header name=value', EXIT_WRONG_ARGUMENTS);
  return { name: text.slice(0, equals), value: text.slice(equals + 1) };
}

export interface SubscribeFlags extends ApiFlags {
  readonly output: OutputFormat;
  readonly count?: number;
  readonly retained: boolean;
}

export async function subscribe(filter: string, flags: SubscribeFlags): Promise<void> {
  const query = new URLSearchParams({ retained: String(flags.retained) });
  if (flags.count !== undefined) query.set('count', String(flags.count));
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  // Whoever reads the output may have had enough, as `head` has.
  process.stdout.on('error', () => stop.abort());
  let printed = 0;
  try {
    const response = await new ApiClient(flags).open(
      'GET',
      `/v1/messages/${pathOf(filter)}?${query}`,
      undefined,
      { accept: 'text/event-stream' },
      stop.signal,
    );
    for await (const message of readEvents(response)) {
      await print(message, flags.output);
      printed++;
    }
  } catch (error) {
    if (stop.signal.aborted) return;
    if (error instanceof Failure) throw error;
    throw new Failure(
      `the connection was lost: ${((error as Error).cause as Error | undefined)?.message ?? error}`,
    );
  }
  if (printed !== flags.count) throw new Failure('the gateway ended the subscription');
}

/** The data of each server-sent event; the gateway sends one line each. */
async function* readEvents(response: Response): AsyncGenerator<ShownMessage> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    const lines = text.split('\n');
    text = lines.pop() as string;
    for (const line of lines) {
      if (line.startsWith('data: ')) yield JSON.parse(line.slice('data: '.length)) as ShownMessage;
    }
  }
}

/** Waits where the reader of the output is slow, so that the gateway notices it and nothing piles up here. */
async function print(message: ShownMessage, format: OutputFormat): Promise<void> {
  const line = format === 'json' ? JSON.stringify(message) : lineFrom(message);
  if (process.stdout.write(`${line}\n`)) return;
  await new Promise<void>((resolve) => {
    process.stdout.once('drain', resolve);
    process.stdout.once('error', () => resolve());
  });
}

function lineFrom(message: ShownMessage): string {
  const address = showText(message.address);
  if (message.bodyBase64 !== undefined) return `${address} (${bytesOfBody(message).length} bytes)`;
  return `${address} ${showText(message.body ?? '')}`;
}
