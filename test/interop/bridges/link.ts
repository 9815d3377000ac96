/**
 * The life of a bridge in its smallest form, for tests of drivers: it opens links, sends what waits until the outside has
 * it, opens them again when they are lost, and gathers what comes in. Without buffers on disk, mappings or backoff.
 */
import { Default } from 'typebox/value';
import { SystemClock } from '../../../src/clock.ts';
import { Message, type MessageFields } from '../../../src/core/index.ts';
import type {
  BridgeDelivery,
  BridgeDirection,
  BridgeDriver,
  BridgeLink,
  OutsideMessage,
  SendAnswer,
  TakeAnswer,
} from '../../../src/outside.ts';
import { pause, waitFor } from '../programs.ts';

const RETRY_MS = 50;

export const clock = new SystemClock((error) => {
  throw error;
});

const silent = { debug() {}, info() {}, warn() {}, error() {} };

export interface LinkSetup {
  readonly driver: BridgeDriver;
  readonly connection: object;
  readonly options?: object;
  readonly delivery?: BridgeDelivery;
  readonly inFlightMax?: number;
  readonly signal?: AbortSignal;
  readonly isTrial?: boolean;
}

export interface OpenedLink {
  readonly link: BridgeLink;
  /** Resolves with the reason when the link says that it is lost. */
  readonly lost: Promise<Error>;
}

export async function openLink(setup: LinkSetup, direction: BridgeDirection): Promise<OpenedLink> {
  const { driver, delivery = 'at-least-once', inFlightMax = 1000 } = setup;
  const { promise: lost, resolve } = Promise.withResolvers<Error>();
  const link = await driver.open({
    name: 'test',
    connection: Default(driver.connectionSchema, structuredClone(setup.connection)),
    options: Default(driver.optionsSchema[direction], structuredClone(setup.options ?? {})),
    direction,
    delivery,
    gatewayId: '0123456789abcdef0123456789abcdef',
    inFlightMax,
    clock,
    logger: silent,
    signal: setup.signal ?? new AbortController().signal,
    isTrial: setup.isTrial ?? false,
    lost: resolve,
  });
  return { link, lost };
}

export function batchOf(messages: readonly Message[], firstOffset = 0): OutsideMessage[] {
  return messages.map((message, at) => ({ offset: firstOffset + at, message }));
}

export const messageOf = (address: string, body: string, fields: Partial<MessageFields> = {}): Message =>
  new Message({ address, body: Buffer.from(body), reliability: 1, ...fields });

export interface Outcome {
  /** How often the link had to be opened. */
  readonly links: number;
  /** Reasons of answers that were not "taken", each once. */
  readonly reasons: ReadonlySet<string>;
  readonly refused: readonly number[];
}

/** Sends all of them, in batches, however often it takes. */
export async function deliver(
  setup: LinkSetup,
  messages: readonly Message[],
  { batchMax = 500, afterBatch = (_done: number): void | Promise<void> => {} } = {},
): Promise<Outcome> {
  const reasons = new Set<string>();
  const refused: number[] = [];
  let waiting = batchOf(messages);
  let links = 0;
  let link: BridgeLink | null = null;
  while (waiting.length > 0) {
    try {
      if (link === null) {
        link = (await openLink(setup, 'out')).link;
        links++;
      }
      const batch = waiting.slice(0, batchMax);
      const answers: readonly SendAnswer[] = await link.send(batch);
      const again = batch.filter(({ offset }, at) => {
        const answer = answers[at] ?? null;
        if (answer !== null) reasons.add(answer.reason);
        if (answer?.permanent) refused.push(offset);
        return answer !== null && !answer.permanent;
      });
      waiting = [...again, ...waiting.slice(batchMax)];
      await afterBatch(messages.length - waiting.length);
      if (again.length > 0) await pause(RETRY_MS);
    } catch {
      await link?.close();
      link = null;
      await pause(RETRY_MS);
    }
  }
  await link?.close();
  return { links, reasons, refused };
}

/** A sink that keeps what comes; `answer` decides about each message, `stored` unless given. */
export class Gathered {
  readonly messages: Message[] = [];
  /** Not asked about what is behind a refused message. */
  answer: (message: Message) => TakeAnswer | Promise<TakeAnswer> = () => 'stored';
  #takes = 0;
  #refusedUpTo = 0;
  #judged: Promise<TakeAnswer[]> = Promise.resolve([]);

  readonly take = (messages: readonly Message[]): Promise<readonly TakeAnswer[]> => {
    const number = ++this.#takes;
    this.messages.push(...messages);
    this.#judged = this.#judged.then(() => this.#judge(number, messages));
    return this.#judged;
  };

  async #judge(number: number, messages: readonly Message[]): Promise<TakeAnswer[]> {
    const answers: TakeAnswer[] = [];
    for (const message of messages) {
      const answer = number <= this.#refusedUpTo ? 'refused' : await this.answer(message);
      if (answer === 'refused') this.#refusedUpTo = this.#takes;
      answers.push(answer);
    }
    return answers;
  }

  get bodies(): string[] {
    return this.messages.map(({ body }) => Buffer.from(body).toString());
  }
}

/** Receives `count` messages, none of which is stored for `holdMs`: how many of them had come by then. The link has to outlast it. */
export async function receiveHeldBack(
  setup: LinkSetup,
  source: string,
  { count, holdMs }: { readonly count: number; readonly holdMs: number },
): Promise<number> {
  const { link, lost } = await openLink(setup, 'in');
  let error: Error | null = null;
  void lost.then((reason) => {
    error = reason;
  });
  const gathered = new Gathered();
  const { promise: mayStore, resolve: store } = Promise.withResolvers<void>();
  gathered.answer = async (): Promise<TakeAnswer> => {
    await mayStore;
    return 'stored';
  };
  await link.receive([source], gathered);
  await waitFor('the first', () => gathered.messages.length > 0);
  await pause(holdMs);
  const held = gathered.messages.length;
  store();
  await waitFor('all of them', () => {
    if (error !== null) throw error;
    return gathered.messages.length >= count;
  });
  await link.close();
  return held;
}
