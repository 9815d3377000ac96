/**
 * What the core knows of a compiled mapping rule. Rules are compiled outside (`mappings/rules.ts`) into one of two
 * forms. A capture leads every address under its pattern into one stream and back. A routing rule has conditions and
 * targets and makes a new message for each of them; the core decides when it is asked (`mapping-runner.ts`), counts,
 * bounds and delivers what it makes. Both are pure: time, chance and who published come as `RuleInput`.
 */

import type { Principal } from './access.ts';
import type { Message } from './message.ts';
import type { Pattern } from './pattern.ts';

/** Addresses under `pattern` ⇔ records of `stream` with a key. */
export interface MappingRule {
  readonly pattern: Pattern;
  readonly stream: string;
  readonly partitions: number;
  /** Given where the rule takes only some of what `pattern` matches: to be asked for each matching address. */
  accepts?(address: string): boolean;
  /** Why `addressOf` never leads back, for people; absent where it does. */
  readonly oneWayReason?: string;
  /** The record key of an address that the pattern matches and the rule accepts; null: no key. */
  keyOf(address: string): Uint8Array | null;
  /** The address of a record with this key, or null where the rule does not lead back. */
  addressOf(key: Uint8Array | null): string | null;
}

/** Why a target got nothing. A closed list: counters, metrics and documents have a line for each. */
export const RULE_FAILURES = [
  'payload', // the body is not what a condition, template or transform needs
  'missing', // a template asks for a value that the message does not have
  'address', // a template made no address, or one that is the gateway's own
  'too-large', // what was made is above messageBytesMax
  'loop', // the message has been through too many rules
  'topics', // above maxTopics, and no overflowTopic
  'overflow', // the queue is full and refuses, or a further rule does
  'fan-out', // one message made more messages than the bound
  'storage', // the stream or queue cannot take it now
] as const;

export type RuleFailure = (typeof RULE_FAILURES)[number];

/** Thrown by a target that cannot make its message. */
export class RuleError extends Error {
  readonly failure: RuleFailure;

  constructor(failure: RuleFailure, message: string) {
    super(message);
    this.name = 'RuleError';
    this.failure = failure;
  }
}

/** Checks the address that a rule made, whatever it is for. Throws RuleError `address`. */
export function checkDerivedAddress(address: string): void {
  if (address === '') throw new RuleError('address', 'the template made an empty address');
  if (address.startsWith('$'))
    throw new RuleError('address', `'${address}': addresses that begin with $ belong to the gateway`);
}

/** Checks the size of what a rule made. Throws RuleError `too-large`. */
export function checkMadeSize({ message, key }: RuleOutput, messageBytesMax: number): void {
  const bytes = Math.max(message.body.length, key === null ? 0 : key.length);
  if (bytes > messageBytesMax)
    throw new RuleError('too-large', `${bytes} bytes are more than ${messageBytesMax} (messageBytesMax)`);
}

/** One message on its way through the rules. Made once for each message that some routing rule could take. */
export interface RuleInput {
  readonly message: Message;
  readonly nowMs: number;
  /** Who published it; null for records, dead letters and what rules made. */
  readonly principal: Principal | null;
  /** Another one at each call. */
  newId(): string;
  /** What compiled rules keep about this message from one to the next, such as its parsed body. */
  memo: unknown;
}

export interface RuleOutput {
  readonly message: Message;
  /** Of the record, where the target is a stream. */
  readonly key: Uint8Array | null;
  /** Text whose hash, or a number that itself, chooses the partition; null: the key, or else the address. */
  readonly partitionBy: string | number | null;
}

/** What happens to a message that a target could not be given. */
export type RuleErrorPolicy =
  | { readonly kind: 'drop' }
  | { readonly kind: 'dead-letter'; readonly queue: string }
  /** Its publisher is told. */
  | { readonly kind: 'refuse' };

export interface RuleTarget {
  readonly kind: 'core' | 'queue' | 'stream' | 'bridge';
  /** Of the queue, stream or bridge; empty for `core`. */
  readonly name: string;
  /** Of a stream that does not exist yet. */
  readonly partitions: number;
  readonly onError: RuleErrorPolicy;
  /** Different addresses that it may make, and what the others become; null: any number. */
  readonly topicsMax: number | null;
  readonly overflowTopic: string | null;
  /** Addresses that it may make, of a bridge those of the other side; null where it makes none. */
  readonly reach: Pattern | null;
  /** Throws RuleError. */
  make(input: RuleInput): RuleOutput;
}

/** Addresses under `pattern`, on conditions, to one or more targets. */
export interface RoutingRule {
  readonly pattern: Pattern;
  accepts?(address: string): boolean;
  /** Rules are asked in this order, equal ones by name; the first that takes a message is the last unless `continues`. */
  readonly order: number;
  readonly continues: boolean;
  /** It does not take everything that its pattern matches. */
  readonly conditional: boolean;
  /** Circles that it is part of are not refused; messages in them end by the bounds. */
  readonly circlesAllowed?: boolean;
  /** It publishes also to addresses where the message has been before. */
  readonly returns?: boolean;
  /** Rules that a message may have been through before this one. */
  readonly hopsMax: number;
  readonly targets: readonly RuleTarget[];
  /** Captures that lead records of its streams back to their addresses. */
  readonly inverses: readonly MappingRule[];
  /** Why records or messages do not lead back, for people; absent where they do. */
  readonly oneWayReason?: string;
  /** The definition of a rule that leads messages from the one address that it publishes to back to theirs. */
  readonly inverse?: Readonly<Record<string, unknown>>;
  /** Null: it takes the message; otherwise why not, for people. */
  refusal(input: RuleInput): string | null;
}

export type AnyRule = MappingRule | RoutingRule;

export function isRouting(rule: AnyRule): rule is RoutingRule {
  return 'targets' in rule;
}

/** The streams that a rule leads to, with the partitions that it asks for. */
export function streamsOfRule(
  rule: AnyRule,
): readonly { readonly name: string; readonly partitions: number }[] {
  if (!isRouting(rule)) return [{ name: rule.stream, partitions: rule.partitions }];
  return rule.targets.filter((target) => target.kind === 'stream');
}

/**
 * What became of what one rule was given, a message that leads to two targets counted twice. At any time
 * `in = out + filtered + failed + every number of dropped + deadLettered + inFlight`.
 */
export interface MappingCounters {
  in: number;
  out: number;
  /** A condition did not hold, or the message has been where it would go, or in this rule, before. */
  filtered: number;
  /** Refused to its publisher. */
  failed: number;
  readonly dropped: Record<RuleFailure, number>;
  deadLettered: number;
  inFlight: number;
}

export function newMappingCounters(): MappingCounters {
  const dropped = Object.fromEntries(RULE_FAILURES.map((each) => [each, 0])) as Record<RuleFailure, number>;
  return { in: 0, out: 0, filtered: 0, failed: 0, dropped, deadLettered: 0, inFlight: 0 };
}

/** Adds `other` to `sum`. */
export function addMappingCounters(sum: MappingCounters, other: Readonly<MappingCounters>): void {
  sum.in += other.in;
  sum.out += other.out;
  sum.filtered += other.filtered;
  sum.failed += other.failed;
  for (const failure of RULE_FAILURES) sum.dropped[failure] += other.dropped[failure];
  sum.deadLettered += other.deadLettered;
  sum.inFlight += other.inFlight;
}

/** A rule as it stands in the table of rules. */
export interface MappingEntry {
  readonly definition: unknown;
  readonly rule: AnyRule;
  readonly counters: Readonly<MappingCounters>;
}

/** Something that a check of a set of rules found and that does not keep the set from being used. */
export interface RuleWarning {
  readonly mapping: string;
  /** JSON pointer into the mapping's definition. */
  readonly pointer: string;
  readonly detail: string;
}

/** What putting a set of rules changes. */
export interface MappingChanges {
  readonly created: readonly string[];
  readonly replaced: readonly string[];
  readonly unchanged: readonly string[];
  readonly removed: readonly string[];
  readonly warnings: readonly RuleWarning[];
}

export interface ApplyOptions {
  /** Rules that the set does not name go. */
  readonly prune: boolean;
  /** Everything is checked and nothing is changed. */
  readonly dryRun: boolean;
}

export interface MappingRules {
  /**
   * Compiles, checks, applies and stores. Throws CoreError `invalid-argument` with the reason, its `field` a JSON
   * pointer into the definition.
   */
  put(name: string, definition: unknown, options?: { readonly dryRun: boolean }): Promise<MappingChanges>;
  /** As `put` for many at once: all of them or none, between two messages. `field` begins with the rule's name. */
  apply(definitions: ReadonlyMap<string, unknown>, options: ApplyOptions): Promise<MappingChanges>;
  get(name: string): MappingEntry | undefined;
  /** Throws CoreError `in-use` while a set is being applied. */
  remove(name: string): boolean;
  list(): Iterable<readonly [name: string, entry: MappingEntry]>;
  /** Over all rules since the start, those that are gone included. */
  totals(): MappingCounters;
}
