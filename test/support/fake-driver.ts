/** A client of an outside broker that a test plays: it says what is answered, when, and what comes in. */

import Type from 'typebox';
import type { Message } from '../../src/core/index.ts';
import {
  type BridgeDelivery,
  type BridgeDirection,
  type BridgeDriver,
  type BridgeLink,
  type InboundSink,
  LinkError,
  type LinkOptions,
  type OutsideMessage,
  type SendAnswer,
  secretSetting,
  type TakeAnswer,
} from '../../src/outside.ts';

const ALL: readonly BridgeDelivery[] = ['at-least-once', 'at-most-once', 'exactly-once'];

/** The other side, as one bridge sees it. */
export class FakeOutside implements BridgeDriver {
  readonly type = 'fake';
  readonly connectionSchema = Type.Object(
    {
      host: Type.String({ default: 'localhost', minLength: 1, description: 'Where it is.' }),
      password: Type.Optional(secretSetting('Password.')),
      stampLost: Type.Boolean({ default: false, description: 'Stamps do not arrive.' }),
    },
    { additionalProperties: false },
  );
  readonly optionsSchema: Record<BridgeDirection, ReturnType<typeof Type.Object>> = {
    out: Type.Object(
      { level: Type.Integer({ default: 1, minimum: 0, maximum: 9, description: 'Of something.' }) },
      { additionalProperties: false },
    ),
    in: Type.Object({}, { additionalProperties: false }),
  };
  readonly deliveries: Readonly<Record<BridgeDirection, readonly BridgeDelivery[]>> = {
    out: ALL,
    in: ['at-least-once'],
  };
  /** Everything that it said it has, in the order of arrival. */
  readonly got: OutsideMessage[] = [];
  readonly links: FakeLink[] = [];
  readonly opened: LinkOptions[] = [];
  /** The largest offset that it has, told to links of exactly once. */
  sentOffset: number | null = null;
  peer: string | null = null;
  /** Instead of opening. */
  refusal: Error | null = null;
  /** `open`, `send`, `receive`, `close` that never answer. */
  readonly hanging = new Set<'open' | 'send' | 'receive' | 'close'>();
  /** What is answered to one message; throws to leave it unclear. Null: the outside has it. */
  answer: (message: OutsideMessage) => SendAnswer = () => null;
  /** Answers come when the test lets them. */
  isHeld = false;
  /** As the driver's; by default the same address. */
  comesBackAs: (address: string, options: unknown) => string | null = (address) => address;
  readonly #waiting: (() => void)[] = [];

  isStampLost(connection: unknown): boolean {
    return (connection as { readonly stampLost: boolean }).stampLost;
  }

  sourceFrom(pattern: string): string | null {
    return pattern.startsWith('+') ? null : pattern;
  }

  checkSource(source: string): void {
    if (source.includes(' ')) throw new Error('holds a blank');
  }

  open(options: LinkOptions): Promise<BridgeLink> {
    this.opened.push(options);
    if (this.hanging.has('open')) return new Promise(() => {});
    if (this.refusal !== null) return Promise.reject(this.refusal);
    const link = new FakeLink(this, options);
    this.links.push(link);
    return Promise.resolve(link);
  }

  get link(): FakeLink {
    const link = this.links.at(-1);
    if (link === undefined) throw new Error('no link is open');
    return link;
  }

  /** The bodies of what it has, in order. */
  get bodies(): string[] {
    return this.got.map(({ message }) => Buffer.from(message.body).toString());
  }

  /** Lets go of the answers that were held. */
  letGo(): void {
    for (const answer of this.#waiting.splice(0)) answer();
  }

  held(): Promise<void> {
    return this.isHeld ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve();
  }
}

export class FakeLink implements BridgeLink {
  readonly peer: string | null;
  readonly sent: (readonly OutsideMessage[])[] = [];
  sources: readonly string[] = [];
  isClosed = false;
  readonly #outside: FakeOutside;
  readonly #options: LinkOptions;
  #sink: InboundSink | null = null;

  constructor(outside: FakeOutside, options: LinkOptions) {
    this.#outside = outside;
    this.#options = options;
    this.peer = outside.peer;
  }

  get sentOffset(): number | null {
    return this.#outside.sentOffset;
  }

  async send(batch: readonly OutsideMessage[]): Promise<readonly SendAnswer[]> {
    const outside = this.#outside;
    this.sent.push(batch);
    if (outside.hanging.has('send')) return new Promise(() => {});
    await outside.held();
    if (this.isClosed) throw new LinkError('closed', 'the link is closed');
    return batch.map((each) => {
      const answer = outside.answer(each);
      if (answer === null) {
        outside.got.push(each);
        if (outside.sentOffset !== null) outside.sentOffset = each.offset;
      }
      return answer;
    });
  }

  receive(sources: readonly string[], sink: InboundSink): Promise<void> {
    this.sources = sources;
    this.#sink = sink;
    return this.#outside.hanging.has('receive') ? new Promise(() => {}) : Promise.resolve();
  }

  /** Something comes from the outside. */
  bring(...messages: Message[]): Promise<readonly TakeAnswer[]> {
    if (this.#sink === null) throw new Error('nobody receives');
    return this.#sink.take(messages);
  }

  lose(error: Error = new LinkError('closed', 'the other side went')): void {
    this.#options.lost(error);
  }

  close(): Promise<void> {
    this.isClosed = true;
    return this.#outside.hanging.has('close') ? new Promise(() => {}) : Promise.resolve();
  }
}
