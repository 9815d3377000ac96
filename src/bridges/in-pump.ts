/**
 * From an open link into the core. One for each link. What comes is mapped, by the first mapping that takes it, and
 * published at once and in order; the answer follows when it is stored. After a message that cannot be stored now, all
 * that comes is given back until the other side's client was told so: what came later does not pass it.
 */

import {
  BoundedTopics,
  type BridgeMapping,
  type Clock,
  type Core,
  CoreError,
  checkDerivedAddress,
  checkMadeSize,
  type MappingCounters,
  type Message,
  PENDING,
  PLAIN_DELIVERY,
  type Publisher,
  type ReceiptSink,
  RuleError,
  type RuleFailure,
  type RuleInput,
  type RuleTarget,
  takes,
  tooManyTopics,
  undeliverable,
} from '../core/index.ts';
import type { InboundSink, TakeAnswer } from '../outside.ts';
import { arrived, pathOf, publisherOf } from './path-stamp.ts';
import type { Tally } from './tally.ts';

export interface InPumpParts {
  readonly name: string;
  readonly core: Core;
  readonly clock: Clock;
  readonly gatewayId: string;
  /** Of the other side, where that is a gateway. */
  readonly peer: string | null;
  readonly mappings: readonly { readonly mapping: BridgeMapping; readonly counters: MappingCounters }[];
  readonly inFlightMax: number;
  readonly tally: Tally;
  newId(): string;
  /** Why what comes cannot be stored; null: it is again. */
  degraded(reason: string | null): void;
}

/** What was handed over at once, and its answers so far. */
interface Take {
  readonly answers: (TakeAnswer | null)[];
  left: number;
  /** Some of it is given back. */
  isRefused: boolean;
  resolve(answers: readonly TakeAnswer[]): void;
}

/** A published message whose receipt has not come. */
interface Published {
  readonly take: Take;
  readonly index: number;
  readonly bytes: number;
  readonly counters: MappingCounters;
}

/** What was refused for good: the same would be refused again. */
const PERMANENT: ReadonlySet<string> = new Set([
  'message-too-large',
  'invalid-name',
  'invalid-argument',
  'access-refused',
]);

export class InPump implements InboundSink, ReceiptSink {
  readonly #parts: InPumpParts;
  readonly #publisher: Publisher;
  readonly #topics = new BoundedTopics();
  readonly #published = new Map<number, Published>();
  #nextToken = 1;
  #inFlight = 0;
  /** Takes of which something is given back, and whose answers are still to be told. */
  #refusing = 0;
  #isCongested = false;
  #held: (() => void)[] = [];
  #isStopped = false;

  constructor(parts: InPumpParts) {
    this.#parts = parts;
    this.#publisher = parts.core.openPublisher({
      principal: { user: `bridge:${parts.name}`, groups: [], clientId: '' },
      isGateway: true,
      congested: (yes) => {
        this.#isCongested = yes;
        if (!yes) this.#letGo();
      },
    });
  }

  /** Taken and not answered. */
  get inFlight(): number {
    return this.#inFlight;
  }

  take(messages: readonly Message[]): Promise<readonly TakeAnswer[]> {
    const answered = new Promise<readonly TakeAnswer[]>((resolve) => {
      const take: Take = {
        answers: messages.map(() => null),
        left: messages.length,
        isRefused: false,
        resolve,
      };
      this.#parts.tally.taken += messages.length;
      this.#inFlight += messages.length;
      let isRefusing = this.#isStopped || this.#refusing > 0 || this.#inFlight > this.#parts.inFlightMax;
      for (let index = 0; index < messages.length; index++) {
        if (isRefusing) this.#answer(take, index, 'refused');
        else isRefusing = !this.#takeOne(messages[index] as Message, take, index);
      }
      if (messages.length === 0) resolve([]);
    });
    // Asked for before the caller does: it hears of it afterwards, and may offer the same again at once.
    void answered.then((answers) => {
      if (answers.includes('refused')) this.#refusing--;
    });
    return answered;
  }

  stored(token: number): void {
    const published = this.#known(token);
    if (published !== null) this.#done(published);
  }

  refused(token: number, error: CoreError): void {
    const published = this.#known(token);
    if (published === null) return;
    published.counters.failed++;
    this.#parts.degraded(error.message);
    this.#answer(published.take, published.index, 'refused');
  }

  /** Nothing is taken any more; what waits for its receipt still gets it. */
  stop(): void {
    this.#isStopped = true;
    this.#publisher.close();
    this.#letGo();
  }

  /** Returns whether it was answered or will be; false where it was given back. */
  #takeOne(came: Message, take: Take, index: number): boolean {
    const { gatewayId, mappings, peer, tally } = this.#parts;
    if (pathOf(came).includes(gatewayId)) {
      tally.dropped.loop++;
      return this.#answer(take, index, 'stored');
    }
    const message = arrived(came, peer);
    const input: RuleInput = {
      message,
      nowMs: this.#parts.clock.nowMs(),
      principal: null,
      newId: this.#parts.newId,
      memo: null,
    };
    for (const { mapping, counters } of mappings) {
      const { rule } = mapping;
      if (!rule.pattern.matches(message.address) || rule.accepts?.(message.address) === false) continue;
      counters.in++;
      if (rule.conditional && !takes(rule, input)) {
        counters.filtered++;
        continue;
      }
      return this.#publish(input, rule.targets[0] as RuleTarget, counters, take, index);
    }
    tally.dropped.unmapped++;
    return this.#answer(take, index, 'stored');
  }

  #publish(
    input: RuleInput,
    target: RuleTarget,
    counters: MappingCounters,
    take: Take,
    index: number,
  ): boolean {
    const { core, name } = this.#parts;
    let made: Message;
    try {
      const output = target.make(input);
      checkMadeSize(output, core.limits.messageBytesMax);
      checkDerivedAddress(output.message.address);
      const bounded = this.#topics.bounded(target, output.message);
      if (bounded === null) throw new RuleError('topics', tooManyTopics(target, output.message.address));
      made = bounded.with({ publisherId: publisherOf(name, input.message.address) });
    } catch (error) {
      const failure = error instanceof RuleError ? error.failure : 'payload';
      return this.#fail(input.message, target, counters, failure, (error as Error).message, take, index);
    }
    const token = this.#nextToken++;
    const published: Published = { take, index, bytes: made.body.length, counters };
    try {
      if (this.#publisher.publish(made, this, token) === PENDING) {
        this.#published.set(token, published);
        counters.inFlight++;
      } else this.#done(published);
      return true;
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      if (PERMANENT.has(error.code))
        return this.#fail(input.message, target, counters, 'address', error.message, take, index);
      counters.failed++;
      this.#parts.degraded(error.message);
      return this.#answer(take, index, 'refused');
    }
  }

  #fail(
    message: Message,
    { onError }: RuleTarget,
    counters: MappingCounters,
    failure: RuleFailure,
    text: string,
    take: Take,
    index: number,
  ): boolean {
    const { core, clock, name, tally } = this.#parts;
    if (onError.kind === 'dead-letter') {
      try {
        const queue = core.queues.provide(onError.queue);
        const dead = undeliverable(message, { kind: 'bridge', name }, failure, text, clock.nowMs());
        if (queue.offer(dead, PLAIN_DELIVERY)) {
          counters.deadLettered++;
          core.counters.deadLettered++;
          this.#buried(take, index);
          return true;
        }
      } catch (error) {
        if (!(error instanceof CoreError)) throw error;
      }
    } else if (onError.kind === 'drop') {
      counters.dropped[failure]++;
      core.counters.dropped++;
      tally.dropped.mapping++;
      return this.#answer(take, index, 'stored');
    }
    counters.failed++;
    this.#parts.degraded(text);
    return this.#answer(take, index, 'refused');
  }

  /** The other side may forget it when it is on the disk. */
  #buried(take: Take, index: number): void {
    const { core, tally } = this.#parts;
    core.whenStored((error) => {
      if (error === null) {
        tally.deadLettered++;
        this.#answer(take, index, 'stored');
        return;
      }
      this.#parts.degraded(error.message);
      this.#answer(take, index, 'refused');
    });
  }

  #done({ take, index, bytes, counters }: Published): void {
    const { tally } = this.#parts;
    counters.out++;
    tally.done++;
    tally.doneBytes += bytes;
    this.#answer(take, index, 'stored');
  }

  #known(token: number): Published | null {
    const published = this.#published.get(token);
    if (published === undefined) return null;
    this.#published.delete(token);
    published.counters.inFlight--;
    return published;
  }

  /** Returns whether it is not given back. */
  #answer(take: Take, index: number, answer: TakeAnswer): boolean {
    take.answers[index] = answer;
    this.#inFlight--;
    if (answer === 'refused') {
      this.#parts.tally.refused++;
      if (!take.isRefused) this.#refusing++;
      take.isRefused = true;
    }
    if (--take.left === 0) {
      if (!take.isRefused) this.#parts.degraded(null);
      const tell = (): void => take.resolve(take.answers as readonly TakeAnswer[]);
      // The other side sends no more than it has answers for.
      if (this.#isCongested && !this.#isStopped) this.#held.push(tell);
      else tell();
    }
    return answer === 'stored';
  }

  #letGo(): void {
    const held = this.#held;
    this.#held = [];
    for (const tell of held) tell();
  }
}
