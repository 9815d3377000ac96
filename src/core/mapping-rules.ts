/**
 * The operator's mapping rules: addresses under a pattern ⇔ records of a stream with a key. A rule is compiled by
 * the function that the core was given, makes sure that its stream exists, and then captures through one binding
 * in the router. Putting and removing happen while messages flow: a rule that replaces another takes its place
 * between two messages, so that none is lost or captured twice. Table `mappings`: name → definition.
 */

import { Buffer } from 'node:buffer';
import { decodeDefinition, encodeDefinition } from './definition.ts';
import type { Durability } from './durability.ts';
import { CoreError } from './errors.ts';
import type { CoreEvent, MappingRule, MappingRules } from './index.ts';
import type { Limits } from './limits.ts';
import { Pattern } from './pattern.ts';
import type { Binding, Router } from './router.ts';
import type { BatchLogOptions, Storage, Table } from './storage.ts';
import type { CapturingStream } from './stream.ts';
import type { StreamRegistry } from './streams.ts';

export interface MappingRuleTableParts {
  readonly storage: Storage;
  readonly durability: Durability;
  readonly limits: Limits;
  readonly router: Router;
  readonly streams: StreamRegistry;
  readonly compileRule: (definition: unknown) => MappingRule;
  readonly addressFromStream: (stream: string) => string;
  /** For streams that a rule brings into being. */
  readonly streamLog: BatchLogOptions;
  readonly report: (event: CoreEvent) => void;
}

interface Entry {
  readonly definition: unknown;
  readonly rule: MappingRule;
  readonly binding: Binding;
}

const NAME_BYTES_MAX = 255;

export class MappingRuleTable implements MappingRules {
  readonly #parts: MappingRuleTableParts;
  readonly #entries = new Map<string, Entry>();
  #table: Table | null = null;
  /** The last `put` under way: they happen one after the other. */
  #putting: Promise<unknown> = Promise.resolve();
  #removals = 0;

  constructor(parts: MappingRuleTableParts) {
    this.#parts = parts;
  }

  /** Applies every stored rule; one that can no longer be applied is reported and left alone. */
  async load(): Promise<void> {
    this.#table = await this.#parts.storage.openTable('mappings');
    const stored: [name: string, definition: unknown][] = [];
    for await (const [name, bytes] of this.#table.scan('')) stored.push([name, decodeDefinition(bytes)]);
    for (const [name, definition] of stored) {
      try {
        const rule = this.#compile(definition);
        this.#apply(name, definition, rule, await this.#ensureStream(rule));
      } catch (error) {
        this.#parts.report({
          level: 'error',
          text: 'a stored mapping rule cannot be applied and is skipped',
          details: { rule: name, cause: (error as Error).message },
        });
      }
    }
  }

  async put(name: string, definition: unknown): Promise<void> {
    const task = () => this.#put(name, definition);
    const running = this.#putting.then(task, task);
    this.#putting = running;
    return running;
  }

  get(name: string): Entry | undefined {
    return this.#entries.get(name);
  }

  remove(name: string): boolean {
    const entry = this.#entries.get(name);
    if (entry === undefined) return false;
    this.#entries.delete(name);
    this.#removals++;
    this.#parts.router.remove(entry.binding);
    this.#tellStream(entry.rule.stream);
    (this.#table as Table).remove(name);
    this.#parts.durability.written();
    return true;
  }

  *list(): Iterable<readonly [name: string, entry: Entry]> {
    for (const name of [...this.#entries.keys()].sort()) yield [name, this.#entries.get(name) as Entry];
  }

  async #put(name: string, definition: unknown): Promise<void> {
    const nameBytes = Buffer.byteLength(name, 'utf8');
    if (nameBytes === 0 || nameBytes > NAME_BYTES_MAX)
      throw new CoreError('invalid-name', `a rule's name has 1 to ${NAME_BYTES_MAX} bytes, not ${nameBytes}`);
    const { limits } = this.#parts;
    if (!this.#entries.has(name) && this.#entries.size >= limits.rulesMax)
      throw new CoreError('limit-reached', `there are ${limits.rulesMax} mapping rules already`);
    const rule = this.#compile(definition);
    const stream = await this.#ensureStream(rule);
    await this.#store(name, definition);
    this.#apply(name, definition, rule, stream);
  }

  /** Puts a definition on the disk; takes it back where the disk refuses. */
  async #store(name: string, definition: unknown): Promise<void> {
    const { durability } = this.#parts;
    const table = this.#table as Table;
    const removals = this.#removals;
    const bytes = encodeDefinition(definition);
    table.put(name, bytes);
    durability.written();
    try {
      await new Promise<void>((resolve, reject) => {
        durability.whenStored((error) => (error === null ? resolve() : reject(error)));
      });
    } catch (error) {
      const before = this.#entries.get(name);
      if (before === undefined) table.remove(name);
      else table.put(name, encodeDefinition(before.definition));
      throw error;
    }
    // A rule of this name may have been removed while this one waited; this one was put, so it stays.
    if (removals !== this.#removals) table.put(name, bytes);
  }

  #compile(definition: unknown): MappingRule {
    try {
      return this.#parts.compileRule(definition);
    } catch (error) {
      if (error instanceof CoreError) throw error;
      throw new CoreError('invalid-argument', (error as Error).message, { cause: error });
    }
  }

  /** Runs without waiting: no message sees both the old rule and the new one, or neither. */
  #apply(name: string, definition: unknown, rule: MappingRule, stream: CapturingStream): void {
    const { router } = this.#parts;
    const binding: Binding = {
      pattern: rule.pattern,
      destination: stream,
      options: null,
      via: null,
      match: null,
      rule,
    };
    const before = this.#entries.get(name);
    if (before !== undefined) router.remove(before.binding);
    router.add(binding);
    this.#entries.set(name, { definition, rule, binding });
    if (before !== undefined && before.rule.stream !== rule.stream) this.#tellStream(before.rule.stream);
    this.#tellStream(rule.stream);
  }

  async #ensureStream(rule: MappingRule): Promise<CapturingStream> {
    const { streams, addressFromStream, streamLog } = this.#parts;
    if (streams.get(rule.stream) === undefined) {
      await streams.declare({
        name: rule.stream,
        partitions: rule.partitions,
        captures: [Pattern.of(addressFromStream(rule.stream))],
        log: streamLog,
        settings: {},
      });
    }
    if ((streams.get(rule.stream)?.spec.partitions ?? Number.POSITIVE_INFINITY) < rule.partitions)
      await streams.change(rule.stream, { partitions: rule.partitions });
    const stream = streams.get(rule.stream);
    if (stream === undefined) throw new CoreError('not-found', `stream ${rule.stream} was deleted meanwhile`);
    return stream;
  }

  /** The inverse asks a stream's rules in the order of their names. */
  #tellStream(name: string): void {
    const rules: MappingRule[] = [];
    for (const [, { rule }] of this.list()) if (rule.stream === name) rules.push(rule);
    this.#parts.streams.get(name)?.outlet.setRules(rules);
  }
}
