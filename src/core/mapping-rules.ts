/**
 * The operator's mapping rules. A rule is compiled by the function that the core was given, makes sure that its
 * streams and queues exist, and then stands in the router as one binding: of its stream where it captures, of the one
 * runner (`mapping-runner.ts`) where it routes. Putting and removing happen while messages flow: a rule that replaces
 * another takes its place between two messages, so that none is lost or taken twice.
 *
 * A whole set is compiled, checked and indexed in slices beside the messages that flow, stored so that a crash leaves
 * all of it or none (`mapping-store.ts`), and takes effect in one step.
 */

import { Buffer } from 'node:buffer';
import { BindingIndex } from './binding-index.ts';
import type { Clock } from './clock.ts';
import type { Durability } from './durability.ts';
import { CoreError } from './errors.ts';
import type { CoreEvent } from './index.ts';
import type { Limits } from './limits.ts';
import { RuleGraph, type SlicedCheck } from './mapping-checks.ts';
import {
  type AnyRule,
  type ApplyOptions,
  addMappingCounters,
  isRouting,
  type MappingChanges,
  type MappingCounters,
  type MappingRule,
  type MappingRules,
  newMappingCounters,
  type RuleWarning,
  streamsOfRule,
} from './mapping-rule.ts';
import type { MappingRunner } from './mapping-runner.ts';
import { MappingStore, type StoredChange } from './mapping-store.ts';
import { Pattern } from './pattern.ts';
import type { Binding, Destination, Router } from './router.ts';
import type { BatchLogOptions, Storage } from './storage.ts';
import type { StreamRegistry } from './streams.ts';

export interface MappingRuleTableParts {
  readonly storage: Storage;
  readonly durability: Durability;
  readonly limits: Limits;
  readonly router: Router;
  readonly streams: StreamRegistry;
  readonly runner: MappingRunner;
  readonly clock: Pick<Clock, 'afterTurn'>;
  /** Makes the queue of that name where there is none. Throws CoreError. */
  readonly provideQueue: (name: string) => void;
  readonly isBridge: (name: string) => boolean;
  readonly compileRule: (definition: unknown) => AnyRule;
  readonly addressFromStream: (stream: string) => string;
  /** For streams that a rule brings into being. */
  readonly streamLog: BatchLogOptions;
  readonly report: (event: CoreEvent) => void;
}

interface Entry {
  readonly definition: unknown;
  readonly rule: AnyRule;
  readonly binding: Binding;
  readonly counters: MappingCounters;
}

const NAME_BYTES_MAX = 255;
/** Rules compiled, or put into an index, before other work has its turn. */
const SLICE_RULES = 50;
const NOTHING: MappingChanges = { created: [], replaced: [], unchanged: [], removed: [], warnings: [] };

export class MappingRuleTable implements MappingRules {
  readonly #parts: MappingRuleTableParts;
  #entries = new Map<string, Entry>();
  /** By stream: the rules that lead its records back, by name. */
  #inverses = new Map<string, Map<string, readonly MappingRule[]>>();
  #graph = new RuleGraph();
  #store: MappingStore | null = null;
  /** The last change under way: they happen one after the other. */
  #changing: Promise<unknown> = Promise.resolve();
  #applying = false;
  #removals = 0;
  /** Of rules that are gone. */
  readonly #retired = newMappingCounters();

  constructor(parts: MappingRuleTableParts) {
    this.#parts = parts;
  }

  /** Applies every stored rule; one that can no longer be applied is reported and left alone. */
  async load(): Promise<void> {
    const { storage, durability } = this.#parts;
    this.#store = await MappingStore.open(storage, durability, () => this.#turn());
    const rules = new Map<string, Entry>();
    for (const [name, definition] of await this.#store.load()) {
      try {
        const rule = this.#compile(definition);
        await this.#provide(rule);
        rules.set(name, this.#entryOf(name, definition, rule));
      } catch (error) {
        this.#parts.report({
          level: 'error',
          text: 'a stored mapping rule cannot be applied and is skipped',
          details: { rule: name, cause: (error as Error).message },
        });
      }
    }
    const graph = new RuleGraph();
    for (const [name, { rule }] of rules) graph.put(name, rule);
    await this.#exchange(rules, graph);
  }

  async put(name: string, definition: unknown, options = { dryRun: false }): Promise<MappingChanges> {
    return this.#inTurn(() => this.#put(name, definition, options.dryRun));
  }

  async apply(definitions: ReadonlyMap<string, unknown>, options: ApplyOptions): Promise<MappingChanges> {
    return this.#inTurn(async () => {
      this.#applying = true;
      try {
        return await this.#applySet(definitions, options);
      } finally {
        this.#applying = false;
      }
    });
  }

  get(name: string): Entry | undefined {
    return this.#entries.get(name);
  }

  remove(name: string): boolean {
    const entry = this.#entries.get(name);
    if (entry === undefined) return false;
    if (this.#applying) throw new CoreError('in-use', 'a set of mapping rules is being applied');
    this.#entries.delete(name);
    addMappingCounters(this.#retired, entry.counters);
    this.#removals++;
    this.#parts.router.remove(entry.binding);
    this.#graph.put(name, null);
    this.#leadBack(name, entry.rule, null);
    (this.#store as MappingStore).remove(name);
    return true;
  }

  *list(): Iterable<readonly [name: string, entry: Entry]> {
    for (const name of [...this.#entries.keys()].sort()) yield [name, this.#entries.get(name) as Entry];
  }

  totals(): MappingCounters {
    const totals = newMappingCounters();
    addMappingCounters(totals, this.#retired);
    for (const { counters } of this.#entries.values()) addMappingCounters(totals, counters);
    return totals;
  }

  async #put(name: string, definition: unknown, dryRun: boolean): Promise<MappingChanges> {
    const before = this.#entries.get(name);
    checkName(name);
    this.#checkCount(this.#entries.size + (before === undefined ? 1 : 0));
    const rule = this.#compile(definition);
    this.#checkBridges(rule);
    const warnings = await this.#checkPut(name, rule);
    const changes: MappingChanges = {
      ...NOTHING,
      [before === undefined ? 'created' : 'replaced']: [name],
      warnings,
    };
    if (dryRun) return changes;
    await this.#provide(rule);
    const store = this.#store as MappingStore;
    const removals = this.#removals;
    store.put(name, definition);
    try {
      await store.stored();
    } catch (error) {
      const now = this.#entries.get(name);
      if (now === undefined) store.remove(name);
      else store.put(name, now.definition);
      throw error;
    }
    // A rule of this name may have been removed while this one waited; this one was put, so it stays.
    if (removals !== this.#removals) store.put(name, definition);
    if (this.#isMissing(rule)) await this.#provide(rule);
    this.#apply(name, definition, rule);
    return changes;
  }

  /** Checks the rule among the others, which are as they are; the graph holds it meanwhile in place of the one before. */
  async #checkPut(name: string, rule: AnyRule): Promise<readonly RuleWarning[]> {
    const graph = this.#graph;
    graph.put(name, rule);
    try {
      return await this.#run(graph.check(new Set([name])));
    } finally {
      graph.put(name, this.#entries.get(name)?.rule ?? null);
    }
  }

  async #applySet(definitions: ReadonlyMap<string, unknown>, options: ApplyOptions): Promise<MappingChanges> {
    const created: string[] = [];
    const replaced: string[] = [];
    const unchanged: string[] = [];
    const next = new Map<string, Entry>();
    if (!options.prune) for (const [name, entry] of this.#entries) next.set(name, entry);
    let since = 0;
    for (const [name, definition] of definitions) {
      checkName(name);
      const before = this.#entries.get(name);
      if (before !== undefined && isSame(before.definition, definition)) {
        unchanged.push(name);
        next.set(name, before);
      } else {
        (before === undefined ? created : replaced).push(name);
        next.set(name, this.#entryOf(name, definition, this.#compileNamed(name, definition)));
      }
      if (++since % SLICE_RULES === 0) await this.#turn();
    }
    this.#checkCount(next.size);
    const changed = [...created, ...replaced];
    const graph = new RuleGraph();
    for (const [name, entry] of next) {
      graph.put(name, entry.rule);
      if (++since % SLICE_RULES === 0) await this.#turn();
    }
    const warnings = await this.#run(graph.check(new Set(changed), true));
    const removed = [...this.#entries.keys()].filter((name) => !next.has(name)).sort();
    const changes: MappingChanges = { created, replaced, unchanged, removed, warnings };
    if (options.dryRun || changed.length + removed.length === 0) return changes;

    for (const name of changed) await this.#provide((next.get(name) as Entry).rule);
    const writes: StoredChange[] = [
      ...changed.map((name) => ({ name, definition: next.get(name)?.definition, removed: false })),
      ...removed.map((name) => ({ name, definition: null, removed: true })),
    ];
    const store = this.#store as MappingStore;
    await store.prepare(writes);
    try {
      await this.#exchange(next, graph);
    } catch (error) {
      store.abandon(writes);
      throw error;
    }
    await store.complete(writes);
    return changes;
  }

  /** All rules at once, between two messages. What takes time is made before that, in slices. */
  async #exchange(next: Map<string, Entry>, graph: RuleGraph): Promise<void> {
    const { router, streams } = this.#parts;
    const index = new BindingIndex();
    const inverses = new Map<string, Map<string, readonly MappingRule[]>>();
    let since = 0;
    for (const name of [...next.keys()].sort()) {
      let entry = next.get(name) as Entry;
      if (this.#isMissing(entry.rule)) await this.#provide(entry.rule);
      if (
        streams.get(entry.binding.destination.name) !== entry.binding.destination &&
        !isRouting(entry.rule)
      ) {
        entry = this.#entryOf(name, entry.definition, entry.rule);
        next.set(name, entry);
      }
      index.add(entry.binding);
      for (const [stream, rules] of inversesOf(entry.rule)) {
        const known = inverses.get(stream);
        if (known === undefined) inverses.set(stream, new Map([[name, rules]]));
        else known.set(name, rules);
      }
      if (++since % SLICE_RULES === 0) await this.#turn();
    }
    const led = new Map<string, readonly MappingRule[]>();
    for (const stream of new Set([...this.#inverses.keys(), ...inverses.keys()]))
      led.set(stream, [...(inverses.get(stream)?.values() ?? [])].flat());
    for (const [name, { counters }] of this.#entries)
      if (!next.has(name)) addMappingCounters(this.#retired, counters);
    router.exchangeRules(index);
    this.#entries = next;
    this.#graph = graph;
    this.#inverses = inverses;
    for (const [stream, rules] of led) streams.get(stream)?.outlet.setRules(rules);
  }

  #compile(definition: unknown): AnyRule {
    try {
      return this.#parts.compileRule(definition);
    } catch (error) {
      if (error instanceof CoreError) throw error;
      throw new CoreError('invalid-argument', (error as Error).message, { cause: error });
    }
  }

  /** That the bridges are there to which it leads. Not asked of what is read back: bridges come later. */
  #checkBridges(rule: AnyRule): void {
    if (!isRouting(rule)) return;
    for (const [index, { kind, name }] of rule.targets.entries())
      if (kind === 'bridge' && !this.#parts.isBridge(name)) {
        const field = `/to/${index}/endpoint`;
        throw new CoreError('invalid-argument', `there is no bridge ${name} that leads out`, { field });
      }
  }

  #compileNamed(name: string, definition: unknown): AnyRule {
    try {
      const rule = this.#compile(definition);
      this.#checkBridges(rule);
      return rule;
    } catch (error) {
      const { code, field = '', message } = error as CoreError;
      throw new CoreError(code, message, { field: `/${escapePointer(name)}${field}`, cause: error });
    }
  }

  /** For a rule whose stream exists or will before it is used. */
  #entryOf(name: string, definition: unknown, rule: AnyRule): Entry {
    const counters = this.#entries.get(name)?.counters ?? newMappingCounters();
    const destination: Destination = isRouting(rule)
      ? this.#parts.runner
      : (this.#parts.streams.get(rule.stream) ?? this.#parts.runner);
    const binding: Binding = {
      pattern: rule.pattern,
      destination,
      options: null,
      via: null,
      match: null,
      rule,
      counters,
      name,
    };
    return { definition, rule, binding, counters };
  }

  /** Runs without waiting: no message sees both the old rule and the new one, or neither. */
  #apply(name: string, definition: unknown, rule: AnyRule): void {
    const { router } = this.#parts;
    const entry = this.#entryOf(name, definition, rule);
    const before = this.#entries.get(name);
    if (before !== undefined) router.remove(before.binding);
    router.add(entry.binding);
    this.#entries.set(name, entry);
    this.#graph.put(name, rule);
    this.#leadBack(name, before?.rule ?? null, rule);
  }

  #isMissing(rule: AnyRule): boolean {
    return streamsOfRule(rule).some(({ name }) => this.#parts.streams.get(name) === undefined);
  }

  async #provide(rule: AnyRule): Promise<void> {
    for (const { name, partitions } of streamsOfRule(rule)) await this.#ensureStream(name, partitions);
    if (!isRouting(rule)) return;
    for (const target of rule.targets) if (target.kind === 'queue') this.#parts.provideQueue(target.name);
  }

  async #ensureStream(name: string, partitions: number): Promise<void> {
    const { streams, addressFromStream, streamLog } = this.#parts;
    if (streams.get(name) === undefined) {
      await streams.declare({
        name,
        partitions,
        captures: [Pattern.of(addressFromStream(name))],
        log: streamLog,
        settings: {},
      });
    }
    if ((streams.get(name)?.spec.partitions ?? Number.POSITIVE_INFINITY) < partitions)
      await streams.change(name, { partitions });
    if (streams.get(name) === undefined)
      throw new CoreError('not-found', `stream ${name} was deleted meanwhile`);
  }

  /** Tells the streams of both rules which rules lead their records back; they are asked in the order of names. */
  #leadBack(name: string, before: AnyRule | null, after: AnyRule | null): void {
    const touched = new Set<string>();
    for (const [stream] of before === null ? [] : inversesOf(before)) {
      this.#inverses.get(stream)?.delete(name);
      touched.add(stream);
    }
    for (const [stream, rules] of after === null ? [] : inversesOf(after)) {
      const known = this.#inverses.get(stream);
      if (known === undefined) this.#inverses.set(stream, new Map([[name, rules]]));
      else known.set(name, rules);
      touched.add(stream);
    }
    for (const stream of touched) {
      const known = this.#inverses.get(stream) ?? new Map<string, readonly MappingRule[]>();
      const rules = [...known.keys()].sort().flatMap((each) => known.get(each) ?? []);
      if (known.size === 0) this.#inverses.delete(stream);
      this.#parts.streams.get(stream)?.outlet.setRules(rules);
    }
  }

  #checkCount(count: number): void {
    const { rulesMax } = this.#parts.limits;
    if (count > rulesMax)
      throw new CoreError('limit-reached', `more than ${rulesMax} mapping rules (rulesMax)`);
  }

  /** Runs a check slice by slice. */
  async #run<Result>(check: SlicedCheck<Result>): Promise<Result> {
    for (;;) {
      const step = check.next();
      if (step.done === true) return step.value;
      await this.#turn();
    }
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => this.#parts.clock.afterTurn(resolve));
  }

  #inTurn<Result>(task: () => Promise<Result>): Promise<Result> {
    const running = this.#changing.then(task, task);
    this.#changing = running;
    return running;
  }
}

function checkName(name: string): void {
  const bytes = Buffer.byteLength(name, 'utf8');
  if (bytes === 0 || bytes > NAME_BYTES_MAX)
    throw new CoreError('invalid-name', `a rule's name has 1 to ${NAME_BYTES_MAX} bytes, not ${bytes}`);
  if (name.startsWith('\0')) throw new CoreError('invalid-name', "a rule's name begins with no U+0000");
}

/** By stream, what leads its records back. A capture that does not lead back counts: its stream is in use. */
function inversesOf(rule: AnyRule): Iterable<readonly [stream: string, rules: readonly MappingRule[]]> {
  if (!isRouting(rule)) return [[rule.stream, [rule]]];
  const byStream = new Map<string, MappingRule[]>();
  for (const { name } of streamsOfRule(rule)) byStream.set(name, []);
  for (const inverse of rule.inverses) byStream.get(inverse.stream)?.push(inverse);
  return byStream;
}

function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

/** Whether two definitions say the same. Objects whose names stand in another order do. */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const names = Object.keys(a);
  if (names.length !== Object.keys(b).length) return false;
  for (const name of names) {
    if (!Object.hasOwn(b, name)) return false;
    if (!isSame((a as Record<string, unknown>)[name], (b as Record<string, unknown>)[name])) return false;
  }
  return true;
}
