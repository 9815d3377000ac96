/**
 * Runs routing rules. All of them are one destination of the router, so that what an address resolved to already
 * holds the few rules that match it, however many there are; their order is worked out once for each remembered
 * route. What a rule makes for a stream or queue is handed over at once; what it makes for an address waits until the
 * message that caused it has been routed, because no destination publishes from inside. `publish.ts` then asks for it
 * with `take`, and the receipt waits for all of it.
 *
 * What a rule publishes is routed with its path, the names of the rules that it came through. A rule never publishes
 * what it has published before, and nothing that came through more rules than its `hopsMax`. The path belongs to the
 * way through the core, not to the message: no client sees it, and none can make it up.
 */

import type { Principal } from './access.ts';
import { originOf } from './address.ts';
import { DEATH_HEADER, isHistory } from './dead-letter.ts';
import { type DeliveryOptions, PLAIN_DELIVERY } from './delivery.ts';
import { CoreError } from './errors.ts';
import type { CoreCounters } from './index.ts';
import type { Limits } from './limits.ts';
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
import type { Header, Message } from './message.ts';
import { type Acceptance, type Destination, FULL, IGNORED, type Route, TAKEN, WRITTEN } from './router.ts';
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
}

/** A routing rule under its name. */
export interface PlacedRule {
  readonly name: string;
  readonly rule: RoutingRule;
  readonly counters: MappingCounters;
}

/** What a rule made for an address. */
export interface Derived {
  readonly message: Message;
  /** Names of the rules that it came through, the one that made it last. */
  readonly path: readonly string[];
  readonly placed: PlacedRule;
  readonly target: RuleTarget;
}

const QUEUE_DELIVERY: DeliveryOptions = PLAIN_DELIVERY;

export class MappingRunner implements Destination {
  readonly kind = 'mapping';
  readonly name = 'mappings';
  /** Who publishes what is routed now; null where no client does. */
  principal: Principal | null = null;
  /** The stream whose record is being published: nothing goes back to it. */
  origin: Destination | null = null;
  /** The rules that what is routed now came through. */
  path: readonly string[] = [];
  /** How much waits for `take`. */
  waiting = 0;
  readonly #parts: MappingRunnerParts;
  readonly #topics = new WeakMap<RuleTarget, Set<string>>();
  #derived: Derived[] = [];

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
      const looped = this.path.length === 0 ? null : loopOf(placed, this.path);
      for (const target of rule.targets) {
        const said = this.#give(input, placed, target, looped);
        if (said > result) result = said;
      }
      if (!rule.continues) break;
    }
    return result;
  }

  /** The rules behind these bindings, in the order in which they are asked. */
  explain(bindings: Route['bindings']): readonly PlacedRule[] {
    const rules: PlacedRule[] = [];
    for (const { rule, name, counters } of bindings) {
      if (rule === null || !isRouting(rule) || name === undefined || counters === undefined) continue;
      if (!rules.some((each) => each.rule === rule)) rules.push({ name, rule, counters });
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
    if (said === FULL) {
      return this.#fail(message, placed, target, 'overflow', `a queue for '${message.address}' is full`);
    }
    placed.counters.out++;
    return said;
  }

  /** What was taken could not be published. */
  failed(derived: Derived, failure: RuleFailure, text: string): Acceptance {
    derived.placed.counters.inFlight--;
    return this.#fail(derived.message, derived.placed, derived.target, failure, text);
  }

  #rulesOf(route: Route): readonly PlacedRule[] {
    route.memo ??= this.explain(route.bindings);
    return route.memo as readonly PlacedRule[];
  }

  #give(input: RuleInput, placed: PlacedRule, target: RuleTarget, looped: string | null): Acceptance {
    const { counters } = placed;
    const stream = target.kind === 'stream' ? this.#parts.stream(target.name) : undefined;
    if (stream !== undefined && stream === this.origin) {
      counters.filtered++;
      return IGNORED;
    }
    let output: RuleOutput;
    try {
      if (looped !== null) throw new RuleError('loop', looped);
      output = target.make(input);
      checkMadeSize(output, this.#parts.limits.messageBytesMax);
    } catch (error) {
      // Whatever a rule does to a message, it is that rule's fault and never the end of the process.
      const failure = error instanceof RuleError ? error.failure : 'payload';
      return this.#fail(input.message, placed, target, failure, (error as Error).message);
    }
    if (target.kind === 'core') return this.#derive(output.message, placed, target);
    try {
      if (stream !== undefined) {
        stream.append(output.message, output.key, output.partitionBy);
        counters.out++;
        return WRITTEN;
      }
      if (target.kind === 'stream') throw new CoreError('not-found', `there is no stream ${target.name}`);
      const said = this.#toQueue(target.name, output.message);
      if (said === FULL)
        return this.#fail(input.message, placed, target, 'overflow', `queue '${target.name}' is full`);
      counters.out++;
      return said;
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      return this.#fail(input.message, placed, target, 'storage', error.message);
    }
  }

  #derive(made: Message, placed: PlacedRule, target: RuleTarget): Acceptance {
    let message = made;
    if (target.topicsMax !== null && !this.#counts(target, message.address, target.topicsMax)) {
      if (target.overflowTopic === null) {
        const text = `'${message.address}' is one more than ${target.topicsMax} (maxTopics)`;
        return this.#fail(made, placed, target, 'topics', text);
      }
      message = message.with({ address: target.overflowTopic });
    }
    placed.counters.inFlight++;
    this.#derived.push({ message, path: [...this.path, placed.name], placed, target });
    this.waiting++;
    return TAKEN;
  }

  /** Whether this address is one of the first `max` of the target. */
  #counts(target: RuleTarget, address: string, max: number): boolean {
    let topics = this.#topics.get(target);
    if (topics === undefined) {
      topics = new Set();
      this.#topics.set(target, topics);
    }
    if (topics.has(address)) return true;
    if (topics.size >= max) return false;
    topics.add(address);
    return true;
  }

  #toQueue(name: string, message: Message): Acceptance {
    const queue = this.#parts.queue(name);
    const route: Route = { destination: queue, bindings: [], options: QUEUE_DELIVERY, guarded: false };
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
      return FULL;
    }
    if (policy.kind === 'dead-letter') {
      try {
        const dead = deadLetterOf(message, name, failure, text, this.#parts.clock.nowMs());
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
function takes(rule: RoutingRule, input: RuleInput): boolean {
  try {
    return rule.refusal(input) === null;
  } catch {
    return false;
  }
}

export function compareRules(a: PlacedRule, b: PlacedRule): number {
  return a.rule.order - b.rule.order || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}

/** Why this rule must not publish what came this way, or null. Only what goes to addresses can come back. */
export function loopOf(
  { name, rule }: Pick<PlacedRule, 'name' | 'rule'>,
  path: readonly string[],
): string | null {
  if (!rule.targets.some((target) => target.kind === 'core')) return null;
  if (path.includes(name)) return `mapping ${name} has published this message before`;
  return path.length > rule.hopsMax
    ? `the message came through ${path.length} mappings, more than ${rule.hopsMax} (maxHops)`
    : null;
}

function deadLetterOf(message: Message, rule: string, failure: string, text: string, nowMs: number): Message {
  const { properties } = message;
  const origin = originOf(message.address, null);
  const entry: Header[] = [
    { name: 'count', value: { kind: 'i64', value: 1n } },
    { name: 'reason', value: { kind: 'string', value: failure } },
    { name: 'mapping', value: { kind: 'string', value: rule } },
    { name: 'detail', value: { kind: 'string', value: text } },
    { name: 'time', value: { kind: 'timestamp', value: nowMs, seconds: true } },
    { name: 'exchange', value: { kind: 'string', value: origin.exchange } },
    { name: 'routing-keys', value: { kind: 'list', value: [{ kind: 'string', value: origin.key }] } },
  ];
  // In a protocol's own encoding a history is what a client claims.
  const headers =
    message.codec === null
      ? properties.headers
      : properties.headers.filter((header) => !isHistory(header.name));
  const known = headers.find((header) => header.name === DEATH_HEADER)?.value;
  const older = known?.kind === 'list' ? known.value : [];
  const history: Header = {
    name: DEATH_HEADER,
    value: { kind: 'list', value: [{ kind: 'map', value: entry }, ...older] },
  };
  return message.with({
    // Kept there whatever its publisher asked: somebody has to look at it.
    reliability: message.reliability === 0 ? 1 : message.reliability,
    expiresAtMs: 0,
    retain: false,
    properties: {
      ...properties,
      headers: [history, ...headers.filter((header) => header.name !== DEATH_HEADER)],
    },
  });
}

/** Version 4 (RFC 9562 5.4). */
function uuidFrom(random: Uint8Array): string {
  const bytes = Uint8Array.from(random);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
