/**
 * Links of the MQTT driver as the life of a bridge would open them, and the two sinks that its tests need: one that stores
 * at once, and one that answers when the test says so.
 */
import { onTestFinished } from 'vitest';
import { createMqttBridgeDriver } from '../../../adapters/bridge-mqtt/index.ts';
import { mqttConnectionSettings } from '../../../adapters/bridge-mqtt/settings.ts';
import { SystemClock } from '../../../src/clock.ts';
import { Message, type MessageFields } from '../../../src/core/index.ts';
import type {
  BridgeDirection,
  BridgeDriver,
  BridgeLink,
  InboundSink,
  LinkOptions,
  OutsideMessage,
  SendAnswer,
  TakeAnswer,
} from '../../../src/outside.ts';
import { defaultsOf } from '../../unit/mqtt/schema-defaults.ts';

export const GATEWAY_ID = '00112233445566778899aabbccddeeff';

export interface OpenLink extends BridgeLink {
  /** Why it was lost; null while it was not. */
  readonly error: Error | null;
}

export type LinkChanges = Partial<Pick<LinkOptions, 'name' | 'delivery' | 'inFlightMax' | 'signal'>> & {
  readonly connection?: Readonly<Record<string, unknown>>;
  readonly options?: Readonly<Record<string, unknown>>;
  /** One is used for several links, so that it remembers; a new one otherwise. */
  readonly driver?: BridgeDriver;
};

export async function openLink(
  direction: BridgeDirection,
  url: string | readonly string[],
  changes: LinkChanges = {},
): Promise<OpenLink> {
  const driver = changes.driver ?? createMqttBridgeDriver();
  let error: Error | null = null;
  const { driver: _, connection, options, ...others } = changes;
  const link = await driver.open({
    name: 'test',
    connection: {
      ...(defaultsOf(mqttConnectionSettings) as object),
      urls: [url].flat(),
      ...connection,
    },
    options: { ...(defaultsOf(driver.optionsSchema[direction]) as object), ...options },
    direction,
    delivery: 'at-least-once',
    gatewayId: GATEWAY_ID,
    inFlightMax: 100,
    clock: new SystemClock((failure) => {
      throw failure;
    }),
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    signal: new AbortController().signal,
    ...others,
    lost: (reason) => {
      error = reason;
    },
  });
  onTestFinished(() => link.close());
  return {
    peer: link.peer,
    sentOffset: link.sentOffset,
    get error() {
      return error;
    },
    send: (batch) => link.send(batch),
    receive: (sources, sink) => link.receive(sources, sink),
    close: () => link.close(),
  };
}

/** Messages with offsets from `from` on. */
export const batchOf = (messages: readonly MessageFields[], from = 0): OutsideMessage[] =>
  messages.map((fields, at) => ({ offset: from + at, message: new Message(fields) }));

/** `count` messages of QoS 1 at `address`, whose bodies are numbers from `from` on. */
export const numbered = (address: string, from: number, count: number): OutsideMessage[] =>
  batchOf(
    Array.from({ length: count }, (_, at) => ({
      address,
      body: Buffer.from(String(from + at)),
      reliability: 1,
    })),
    from,
  );

export const isSent = (answers: readonly SendAnswer[]): boolean => answers.every((answer) => answer === null);

export const textOf = (message: Message): string => Buffer.from(message.body).toString();

/** Stores everything at once, or what `answer` says. */
export class KeepingSink implements InboundSink {
  readonly messages: Message[] = [];
  readonly #answer: (message: Message) => TakeAnswer;

  constructor(answer: (message: Message) => TakeAnswer = () => 'stored') {
    this.#answer = answer;
  }

  get texts(): string[] {
    return this.messages.map(textOf);
  }

  take(messages: readonly Message[]): Promise<readonly TakeAnswer[]> {
    this.messages.push(...messages);
    return Promise.resolve(messages.map(this.#answer));
  }
}

/** Answers only when it is told to. */
export class WaitingSink implements InboundSink {
  readonly messages: Message[] = [];
  #waiting: (() => void)[] = [];

  take(messages: readonly Message[]): Promise<readonly TakeAnswer[]> {
    this.messages.push(...messages);
    return new Promise((resolve) => {
      this.#waiting.push(() => resolve(messages.map(() => 'stored')));
    });
  }

  /** Everything that was taken so far is stored. */
  store(): void {
    for (const answer of this.#waiting.splice(0)) answer();
  }
}
