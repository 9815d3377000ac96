/**
 * Exchanges as subtrees of the address space: publishing to exchange X with a key is publishing to the address
 * X/key, and a binding is a pattern under X. The root exchange is the whole space. An exchange need not be
 * declared to be bound or published to; declaring it gives it a type, and then its bindings mean what that type
 * says. Definitions stand in the tables `exchanges` and `bindings`.
 */

import { escapeLevel, exchangeAddress, ROOT_EXCHANGE, unescapeLevel } from './address.ts';
import { checkPattern } from './address-bounds.ts';
import { BindingTable, type BoundEntry } from './binding-table.ts';
import { decodeDefinition, encodeDefinition } from './definition.ts';
import type { Durability } from './durability.ts';
import { CoreError } from './errors.ts';
import type { ExchangeBinding, ExchangeSpec, Exchanges, ExchangeType } from './index.ts';
import type { Limits } from './limits.ts';
import { MANY, ONE, Pattern, type Token } from './pattern.ts';
import type { QueueRegistry } from './queues.ts';
import {
  type Acceptance,
  type Binding,
  type Destination,
  type ExchangeLinks,
  type Fallback,
  IGNORED,
  type Router,
} from './router.ts';
import type { Storage, Table } from './storage.ts';

export interface ExchangesOptions {
  readonly router: Router;
  readonly queues: QueueRegistry;
  readonly storage: Storage;
  readonly durability: Durability;
  readonly limits: Limits;
}

/** Stands for an exchange in the router, which follows it to the exchange's own subtree. */
class ExchangeTarget implements Destination {
  readonly kind = 'exchange';
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  accept(): Acceptance {
    return IGNORED;
  }
}

export class ExchangeRegistry implements Exchanges, ExchangeLinks {
  readonly #options: ExchangesOptions;
  readonly #exchangeTable: Table;
  readonly #bindingTable: Table;
  readonly #exchanges = new Map<string, { readonly spec: ExchangeSpec; readonly number: number }>();
  readonly #bindings = new BindingTable();
  #nextNumber = 1;
  generation = 0;

  private constructor(options: ExchangesOptions, exchangeTable: Table, bindingTable: Table) {
    this.#options = options;
    this.#exchangeTable = exchangeTable;
    this.#bindingTable = bindingTable;
    options.router.linkExchanges(this);
    options.queues.onLeaving((name) => this.#unbindTarget({ kind: 'queue', name }));
  }

  static async load(options: ExchangesOptions): Promise<ExchangeRegistry> {
    const registry = new ExchangeRegistry(
      options,
      await options.storage.openTable('exchanges'),
      await options.storage.openTable('bindings'),
    );
    for await (const [key, bytes] of registry.#exchangeTable.scan('')) {
      const spec = decodeDefinition(bytes) as ExchangeSpec;
      registry.#exchanges.set(spec.name, { spec, number: registry.#seen(key) });
    }
    for await (const [key, bytes] of registry.#bindingTable.scan('')) {
      const definition = decodeDefinition(bytes) as ExchangeBinding;
      const { kind, name } = definition.target;
      // A binding whose queue did not survive is forgotten with it.
      if (kind === 'queue' && options.queues.get(name) === undefined) registry.#bindingTable.remove(key);
      else registry.#connect(definition, registry.#seen(key));
    }
    return registry;
  }

  declare(spec: ExchangeSpec): ExchangeSpec {
    const existing = this.#exchanges.get(spec.name);
    if (existing !== undefined) return existing.spec;
    if (this.#exchanges.size >= this.#options.limits.exchangesMax) {
      throw new CoreError(
        'limit-reached',
        `there are ${this.#exchanges.size} exchanges already (exchangesMax)`,
      );
    }
    const number = spec.durable ? this.#nextNumber++ : 0;
    if (number !== 0) {
      this.#exchangeTable.put(String(number), encodeDefinition(spec));
      this.#options.durability.written();
    }
    this.#exchanges.set(spec.name, { spec, number });
    this.generation++;
    this.#reconnect(spec.name);
    this.#subtreeChanged(spec.name);
    return spec;
  }

  get(name: string): ExchangeSpec | undefined {
    return this.#exchanges.get(name)?.spec;
  }

  *list(): Iterable<ExchangeSpec> {
    for (const { spec } of this.#exchanges.values()) yield spec;
  }

  delete(name: string, options: { readonly ifUnused: boolean }): void {
    const known = this.#exchanges.get(name);
    if (known === undefined) throw new CoreError('not-found', `no exchange '${name}'`);
    if (options.ifUnused && this.#bindings.countOf(name) > 0) {
      throw new CoreError('in-use', `exchange '${name}' in use`);
    }
    this.#exchanges.delete(name);
    this.generation++;
    if (known.number !== 0) {
      this.#exchangeTable.remove(String(known.number));
      this.#options.durability.written();
    }
    for (const entry of this.#bindings.ofSource(name)) this.#disconnect(entry);
    this.#unbindTarget({ kind: 'exchange', name });
    this.#subtreeChanged(name);
  }

  bind(definition: ExchangeBinding): void {
    const { target } = definition;
    const queue = target.kind === 'queue' ? this.#options.queues.get(target.name) : undefined;
    if (target.kind === 'queue' && queue === undefined)
      throw new CoreError('not-found', `no queue '${target.name}'`);
    if (this.#bindings.find(definition) !== undefined) return;
    checkPattern(
      patternOf(definition.exchange, 'direct', definition.key),
      this.#options.limits.addressLevelsMax,
    );
    const count = this.#bindings.countOf(definition.exchange);
    if (count >= this.#options.limits.bindingsPerQueueMax) {
      throw new CoreError(
        'limit-reached',
        `exchange '${definition.exchange}' has ${count} bindings (bindingsPerQueueMax)`,
      );
    }
    const durable =
      queue === undefined ? this.#isDurable(target.name) : queue.spec.durable && queue.spec.owner === null;
    const stored = durable && this.#isDurable(definition.exchange);
    const number = stored ? this.#nextNumber++ : 0;
    if (number !== 0) {
      this.#bindingTable.put(String(number), encodeDefinition(definition));
      this.#options.durability.written();
    }
    this.#connect(definition, number);
  }

  unbind(definition: ExchangeBinding): void {
    const entry = this.#bindings.find(definition);
    if (entry === undefined) return;
    this.#disconnect(entry);
    this.#leaveIfUseless(definition.exchange);
  }

  *bindings(): Iterable<ExchangeBinding> {
    for (const entry of this.#bindings.all()) yield entry.definition;
  }

  forward(target: string, address: string, via: string): string {
    return exchangeAddress(target, keyUnder(via, address));
  }

  fallback(address: string, exchange: string | null): Fallback | null {
    if (this.#exchanges.size === 0) return null;
    const slash = address.indexOf('/');
    const source = exchange ?? unescapeLevel(slash < 0 ? address : address.slice(0, slash));
    const alternate = this.#exchanges.get(source)?.spec.alternate ?? null;
    if (alternate === null) return null;
    return { exchange: source, alternate, address: this.forward(alternate, address, source) };
  }

  /** One that nobody declared exists as long as its bindings do, and they survive. */
  #isDurable(exchange: string): boolean {
    return this.#exchanges.get(exchange)?.spec.durable ?? true;
  }

  #seen(key: string): number {
    const number = Number(key);
    this.#nextNumber = Math.max(this.#nextNumber, number + 1);
    return number;
  }

  #connect(definition: ExchangeBinding, number: number): void {
    const { exchange, target } = definition;
    const type = this.#exchanges.get(exchange)?.spec.type ?? 'topic';
    const destination =
      target.kind === 'queue' ? this.#options.queues.get(target.name) : new ExchangeTarget(target.name);
    if (destination === undefined) return;
    const binding: Binding = {
      pattern: patternOf(exchange, type, definition.key),
      destination,
      options: null,
      via: exchange,
      match: type === 'headers' ? definition.match : null,
      rule: null,
    };
    this.#bindings.add({ definition, number, binding });
    this.#options.router.add(binding);
  }

  #disconnect(entry: BoundEntry): void {
    this.#bindings.remove(entry);
    this.#options.router.remove(entry.binding);
    if (entry.number !== 0) {
      this.#bindingTable.remove(String(entry.number));
      this.#options.durability.written();
    }
  }

  /** The exchange has got a type: its bindings mean something else now. */
  #reconnect(exchange: string): void {
    for (const entry of this.#bindings.ofSource(exchange)) {
      this.#bindings.remove(entry);
      this.#options.router.remove(entry.binding);
      this.#connect(entry.definition, entry.number);
    }
  }

  #unbindTarget(target: ExchangeBinding['target']): void {
    const gone = this.#bindings.ofTarget(target);
    for (const entry of gone) this.#disconnect(entry);
    for (const { definition } of gone) this.#leaveIfUseless(definition.exchange);
  }

  #leaveIfUseless(exchange: string): void {
    const spec = this.#exchanges.get(exchange)?.spec;
    if (spec?.autoDelete === true && this.#bindings.countOf(exchange) === 0)
      this.delete(exchange, { ifUnused: false });
  }

  #subtreeChanged(exchange: string): void {
    this.#options.router.changed(new Pattern([escapeLevel(exchange), MANY]));
  }
}

/** The pattern of a binding, by the type of its exchange. */
function patternOf(exchange: string, type: ExchangeType, key: string): Pattern {
  const root: Token[] = exchange === ROOT_EXCHANGE ? [] : [escapeLevel(exchange)];
  if (type === 'fanout' || type === 'headers') return new Pattern([...root, MANY]);
  if (key === '' && root.length > 0) return new Pattern(root);
  const levels = key.split('/');
  if (type === 'direct') return new Pattern([...root, ...levels]);
  return new Pattern([
    ...root,
    ...levels.map((level) => (level === '*' ? ONE : level === '#' ? MANY : level)),
  ]);
}

/** The key, in address form, of an address in the subtree of an exchange. */
function keyUnder(exchange: string, address: string): string {
  if (exchange === ROOT_EXCHANGE) return address;
  const level = escapeLevel(exchange);
  return address.length > level.length ? address.slice(level.length + 1) : '';
}
