/** Links of the Kafka driver for tests, opened as a bridge would: with defaults filled in, a real clock, and a memory of what was lost. */
import Value from 'typebox/value';
import { createKafkaBridgeDriver } from '../../../adapters/bridge-kafka/index.ts';
import { SystemClock } from '../../../src/clock.ts';
import { Message, type MessageFields } from '../../../src/core/index.ts';
import type { Logger } from '../../../src/host.ts';
import type {
  BridgeDelivery,
  BridgeDirection,
  BridgeLink,
  InboundSink,
  TakeAnswer,
} from '../../../src/outside.ts';

const driver = createKafkaBridgeDriver();

export const GATEWAY_ID = '0123456789abcdef0123456789abcdef';

/** What was logged, as text, to look for what must not be there. */
export const logged: string[] = [];
const log = (details: object, text: string): void => void logged.push(`${text} ${JSON.stringify(details)}`);
const logger: Logger = { debug: log, info: log, warn: log, error: log };

export interface LinkTo {
  readonly brokers: readonly string[];
  readonly connection?: object;
  readonly options?: object;
  readonly name?: string;
  readonly direction?: BridgeDirection;
  readonly delivery?: BridgeDelivery;
  readonly inFlightMax?: number;
  readonly signal?: AbortSignal;
}

export interface OpenLink {
  readonly link: BridgeLink;
  /** Why it was lost; null while it was not. */
  readonly lost: () => Error | null;
}

export async function openLink(to: LinkTo): Promise<OpenLink> {
  const direction = to.direction ?? 'out';
  let lost: Error | null = null;
  const link = await driver.open({
    name: to.name ?? 'test',
    connection: Value.Default(driver.connectionSchema, { brokers: to.brokers, ...to.connection }),
    options: Value.Default(driver.optionsSchema[direction], { ...to.options }),
    direction,
    delivery: to.delivery ?? 'at-least-once',
    gatewayId: GATEWAY_ID,
    inFlightMax: to.inFlightMax ?? 1_000,
    clock: new SystemClock((error) => {
      throw error;
    }),
    logger,
    signal: to.signal ?? new AbortController().signal,
    lost: (error) => {
      lost = error;
    },
  });
  return { link, lost: () => lost };
}

export const message = (address: string, body: string, fields: Partial<MessageFields> = {}): Message =>
  new Message({
    address,
    body: Buffer.from(body),
    reliability: 1,
    timestampMs: 1_700_000_000_000,
    ...fields,
  });

/** A batch with consecutive offsets. */
export const batchOf = (messages: readonly Message[], from = 0) =>
  messages.map((each, index) => ({ offset: from + index, message: each }));

/** Takes everything, unless told otherwise, and remembers what it stored. */
export class Collector implements InboundSink {
  readonly messages: Message[] = [];
  /** Asked for each message. */
  judge: (message: Message) => TakeAnswer = () => 'stored';

  async take(messages: readonly Message[]): Promise<readonly TakeAnswer[]> {
    await null;
    return messages.map((each) => {
      const answer = this.judge(each);
      if (answer === 'stored') this.messages.push(each);
      return answer;
    });
  }

  bodies(): string[] {
    return this.messages.map(({ body }) => Buffer.from(body).toString());
  }
}

/** Waits on a condition, never on time alone. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  msMax = 60_000,
): Promise<void> {
  const deadline = Date.now() + msMax;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited too long: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
