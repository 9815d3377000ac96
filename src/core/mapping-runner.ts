/**
 * Runs routing rules, the operator's and those of bridges. All of them are one destination of the router, so that what an address resolved to already
 * holds the few rules that match it, however many there are; their order is worked out once for each remembered
 * route. What a rule makes for a stream or queue is handed over at once; what it makes for an address waits until the
 * message that caused it has been routed, because no destination publishes from inside. `publish.ts` then asks for it
 * with `take`, and the receipt waits for all of it.
 *
 * What a rule publishes is routed with its path (`mapping-path.ts`), the rules that it came through. A rule never leads on
 * what it has led on before, nor to an address where the message has been, nor what came through more rules than its
 * `hopsMax`; only the last of these is an error.
 */

import type { Principal } from './access.ts';
import { undeliverable } from './dead-letter.ts';
import { PLAIN_DELIVERY } from './delivery.ts';
import { CoreError } from './errors.ts';
import type { CoreCounters } from './index.ts';
import type { Limits } from './limits.ts';
import { hopsOf, type RuleStep, repeatOf, returnOf } from './mapping-path.ts';
import {
  checkMadeSize,
  isRouting,
  type MappingCounters,
  type RoutingRule,
  RuleError,
  type RuleFailure,
  type RuleInput,
  type RuleOutput,
  type RuleTarget,
} from './mapping-rule.ts';
import type { Message } from './message.ts';
import {
  type Acceptance,
  type Destination,
  FULL,
  IGNORED,
  REFUSED,
  type Route,
  TAKEN,
  WRITTEN,
} from './router.ts';
import type { CapturingStream } from './stream.ts';

/** Messages that rules make of one published message, all that comes of them included. */
export const RULE_OUTPUTS_MAX = 1_024;

export interface MappingRunnerParts {
  readonly clock: { nowMs(): number };
  readonly limits: Limits;
  readonly counters: CoreCounters;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly stream: (name: string) => CapturingStream | undefined;
  /** The queue of that name, made where there is none. Throws CoreError. */
  readonly queue: (name: string) => Destination;
  /** What leads out of the gateway by the bridge of that name. */
  readonly outlet: (name: string) => RuleOutlet | undefined;
}

/** Where rules that lead to a bridge put what they make. */
export interface RuleOutlet {
  /** FULL: its publisher is refused. */
  take(message: Message): Acceptance;
  /** What was FULL is gone: nobody could be refused it. */
  missed(): void;
}

/** A routing rule under its name. */
export interface PlacedRule {
  readonly name: string;
  /** As of its binding; empty for the operator's rules. */
  readonly family: string;
  readonly rule: RoutingRule;
  readonly counters: MappingCounters;
}

/** What a rule made for an address. */
export interface Derived {
  readonly message: Message;
  /** What it came through, the rule that made it last. */
  readonly path: readonly RuleStep[];
  readonly placed: PlacedRule;
  readonly target: RuleTarget;
}

export class MappingRunner implements Destination {
  readonly kind = 'mapping';
  readonly name = 'mappings';
  /** Who publishes what is routed now; null where no client does. */
  principal: Principal | null = null;
  /** The stream whose record is being published: nothing goes back to it. */
  origin: Destination | null = null;
  /** What the message that is routed now came through. */
  path: readonly RuleStep[] = [];
  /** Why a rule refused last, for its publisher. */
  refusal = '';
  /** How much waits for `take`. */
  waiting = 0;
  readonly #parts: MappingRunnerParts;
  readonly #topics = new BoundedTopics();
  #derived: Derived[] = [];
  /** Ways out that were full for the message that is routed now. */
  #full: RuleOutlet[] = [];

  constructor(parts: MappingRunnerParts) {
    this.#parts = parts;
  }

  accept(message: Message, route: Route): Acceptance {
    const rules = this.#rulesOf(route);
    const input: RuleInput = {
      message,
      nowMs: this.#parts.clock.nowMs(),
      principal: this.principal,
      newId: () => uuidFrom(this.#parts.randomBytes(16)),
      memo: null,
    };
    let result: Acceptance = IGNORED;
    for (let i = 0; i < rules.length; i++) {
      const placed = rules[i] as PlacedRule;
      const { rule, counters } = placed;
      counters.in += rule.targets.length;
      if (rule.conditional && !takes(rule, input)) {
        counters.filtered += rule.targets.length;
        continue;
      }
      const isRepeated = this.path.length > 0 && repeatOf(placed.name, this.path) !== null;
      if (isRepeated) counters.filtered += rule.targets.length;
      else {
        const looped = this.path.length === 0 ? null : hopsOf(rule, this.path);
        for (const target of rule.targets) {
          const said = this.#give(input, placed, target, looped);
          if (said > result) result = said;
        }
      }
      if (rule.continues) continue;
      // It is the last of its family; the others have their turn.
      while (i + 1 < rules.length && (rules[i + 1] as PlacedRule).family === placed.family) i++;
    }
    return result;
  }

  /** The rules behind these bindings, in the order in which they are asked. */
  explain(bindings: Route['bindings']): readonly PlacedRule[] {
    const rules: PlacedRule[] = [];
    for (const { rule, name, counters, family = '' } of bindings) {
      if (rule === null || !isRouting(rule) || name === undefined || counters === undefined) continue;
      if (!rules.some((each) => each.rule === rule)) rules.push({ name, rule, counters, family });
    }
    return rules.sort(compareRules);
  }

  /** What rules have made for addresses since the last time, to be published now. */
  take(): readonly Derived[] {
    const derived = this.#derived;
    this.#derived = [];
    this.waiting = 0;
    return derived;
  }

  /** What was taken is routed; `said` is the strongest that any destination answered. */
  published(derived: Derived, said: Acceptance): Acceptance {
    const { placed, target, message } = derived;
    placed.counters.inFlight--;
    if (said >= FULL) {
      const text = said === REFUSED ? this.refusal : `a queue for '${message.address}' is full`;
      return this.#fail(message, placed, target, 'overflow', text);
    }
    placed.counters.out++;
    return said;
  }

  /** What was taken could not be published. */
  failed(derived: Derived, failure: RuleFailure, text: string): Acceptance {
    derived.placed.counters.inFlight--;
    return this.#fail(derived.message, derived.placed, derived.target, failure, text);
  }

  /** What was routed is refused to whoever published it; where nobody did who could be, ways out that are full go without it. */
  refused(isGone: boolean): void {
    if (this.#full.length === 0) return;
    const full = this.#full;
    this.#full = [];
    if (isGone) for (const outlet of full) outlet.missed();
  }

  #rulesOf(route: Route): readonly PlacedRule[] {
    route.memo ??= this.explain(route.bindings);
    return route.memo as readonly PlacedRule[];
  }

  #give(input: RuleInput, placed: PlacedRule, target: RuleTarget, looped: string | null): Acceptance {
    const { counters } = placed;
    const stream = target.kind === 'stream' ? this.#parts.stream(target.name) : undefined;
    if (stream !== undefined && stream === this.origin) return ignored(placed);
    let output: RuleOutput;
    let message: Message;
    try {
      if (looped !== null) throw new RuleError('loop', looped);
      output = target.make(input);
      message = output.message;
      checkMadeSize(output, this.#parts.limits.messageBytesMax);
      if (target.kind === 'core' && this.#isBack(input, placed, message)) return ignored(placed);
      message = this.#within(target, message);
      // `overflowTopic` may be one of them too.
      if (message !== output.message && target.kind === 'core' && this.#isBack(input, placed, message))
        return ignored(placed);
    } catch (error) {
      // Whatever a rule does to a message, it is that rule's fault and never the end of the process.
      const failure = error instanceof RuleError ? error.failure : 'payload';
      return this.#fail(input.message, placed, target, failure, (error as Error).message);
    }
    if (target.kind === 'core') return this.#derive(input.message.address, message, placed, target);
    try {
      if (target.kind === 'bridge') return this.#toBridge(target.name, message, counters);
      if (stream !== undefined) {
        stream.append(message, output.key, output.partitionBy);
        counters.out++;
        return WRITTEN;
      }
      if (target.kind === 'stream') throw new CoreError('not-found', `there is no stream ${target.name}`);
      const said = this.#toQueue(target.name, message);
      if (said === FULL)
        return this.#fail(input.message, placed, target, 'overflow', `queue '${target.name}' is full`);
      counters.out++;
      return said;
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      return this.#fail(input.message, placed, target, 'storage', error.message);
    }
  }

  #isBack({ message: { address } }: RuleInput, { rule }: PlacedRule, made: Message): boolean {
    return returnOf(rule, this.path, address, made.address) !== null;
  }

  #derive(from: string, message: Message, placed: PlacedRule, target: RuleTarget): Acceptance {
    placed.counters.inFlight++;
    const path = [...this.path, { rule: placed.name, address: from }];
    this.#derived.push({ message, path, placed, target });
    this.waiting++;
    return TAKEN;
  }

  /** The message at the address that is left to it by `maxTopics`. Throws RuleError `topics`. */
  #within(target: RuleTarget, message: Message): Message {
    if (target.topicsMax === null) return message;
    const bounded = this.#topics.bounded(target, message);
    if (bounded === null) throw new RuleError('topics', tooManyTopics(target, message.address));
    return bounded;
  }

  /** Where its buffer is full and says so, the publisher is told whatever `onError` says. Throws CoreError. */
  #toBridge(name: string, message: Message, counters: MappingCounters): Acceptance {
    const outlet = this.#parts.outlet(name);
    if (outlet === undefined) throw new CoreError('not-found', `there is no bridge ${name}`);
    const said = outlet.take(message);
    if (said === FULL) {
      counters.failed++;
      this.#full.push(outlet);
    } else counters.out++;
    return said;
  }

  #toQueue(name: string, message: Message): Acceptance {
    const queue = this.#parts.queue(name);
    const route: Route = { destination: queue, bindings: [], options: PLAIN_DELIVERY, guarded: false };
    const said = queue.accept(message, route);
    return said === WRITTEN || said === FULL ? said : TAKEN;
  }

  #fail(
    message: Message,
    placed: PlacedRule,
    target: RuleTarget,
    failure: RuleFailure,
    text: string,
  ): Acceptance {
    const { counters, name } = placed;
    const policy = target.onError;
    if (policy.kind === 'refuse') {
      counters.failed++;
      this.refusal = `mapping ${name} refuses it: ${text}`;
      return REFUSED;
    }
    if (policy.kind === 'dead-letter') {
      try {
        const by = { kind: 'mapping', name } as const;
        const dead = undeliverable(message, by, failure, text, this.#parts.clock.nowMs());
        const said = this.#toQueue(policy.queue, dead);
        if (said !== FULL) {
          counters.deadLettered++;
          this.#parts.counters.deadLettered++;
          return said;
        }
      } catch (error) {
        if (!(error instanceof CoreError)) throw error;
      }
    }
    counters.dropped[failure]++;
    this.#parts.counters.dropped++;
    return TAKEN;
  }
}

/** What a condition cannot be asked about it does not take. */
export function takes(rule: RoutingRule, input: RuleInput): boolean {
  try {
    return rule.refusal(input) === null;
  } catch {
    return false;
  }
}

/** By family, then in the order in which they are asked. */
function compareRules(a: PlacedRule, b: PlacedRule): number {
  return compareText(a.family, b.family) || a.rule.order - b.rule.order || compareText(a.name, b.name);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The first addresses that each target made, up to its `topicsMax`. */
export class BoundedTopics {
  readonly #topics = new WeakMap<RuleTarget, Set<string>>();

  /** The message, at `overflowTopic` where its address is one too many; null where there is no such. */
  bounded(target: RuleTarget, message: Message): Message | null {
    const { topicsMax, overflowTopic } = target;
    if (topicsMax === null) return message;
    let topics = this.#topics.get(target);
    if (topics === undefined) {
      topics = new Set();
      this.#topics.set(target, topics);
    }
    if (topics.has(message.address)) return message;
    if (topics.size < topicsMax) {
      topics.add(message.address);
      return message;
    }
    return overflowTopic === null ? null : message.with({ address: overflowTopic });
  }
}

export function tooManyTopics({ topicsMax }: RuleTarget, address: string): string {
  return `'${address}' is one more than ${topicsMax} (maxTopics)`;
}

/** It has been where it would go: nothing is wrong, and nothing is to be done. */
function ignored({ counters }: PlacedRule): Acceptance {
  counters.filtered++;
  return IGNORED;
}

/** Version 4 (RFC 9562 5.4). */
function uuidFrom(random: Uint8Array): string {
  const bytes = Uint8Array.from(random);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
