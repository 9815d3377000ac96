/**
 * From an address to everything that wants it. Bindings stand in two indexes of the same make (`binding-index.ts`),
 * one of them for mapping rules; what an address resolved to is remembered and stays until a change that could match it. Called by
 * `publish.ts` for each message, by exchanges, queues, sessions and streams when they bind.
 *
 * Invalidation is exact and lazy: each change is noted in a short journal with a growing generation. A remembered
 * route of an older generation is compared with the patterns noted since, and only resolved again when one of
 * them matches one of its addresses, or when the journal no longer reaches back that far. So a subscribe costs
 * nothing for routes that it does not touch, and a route costs nothing while nobody subscribes.
 */

import { type AddressBounds, checkAddress } from './address-bounds.ts';
import { BindingIndex } from './binding-index.ts';
import type { DeliveryOptions } from './delivery.ts';
import { matchesHeaders } from './header-match.ts';
import type { HeaderMatch, SubscriptionOptions } from './index.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { type AnyRule, isRouting, type MappingCounters } from './mapping-rule.ts';
import type { Header, Message, Reliability } from './message.ts';
import type { Pattern } from './pattern.ts';
import { RouteCache } from './route-cache.ts';

/** What a destination did with a message. */
export const IGNORED = 0;
/** Taken; nothing to wait for. */
export const TAKEN = 1;
/** Taken, and written to a log or table that the receipt must wait for. */
export const WRITTEN = 2;
/** Full, and its policy is to refuse. */
export const FULL = 3;
/** A mapping rule does not want it to be published. Above this, as `FULL`, the publisher is told no. */
export const REFUSED = 4;
export type Acceptance = typeof IGNORED | typeof TAKEN | typeof WRITTEN | typeof FULL | typeof REFUSED;

/** Whatever gets copies of messages. Compared by identity: one copy however many of its bindings match. */
export interface Destination {
  readonly kind: 'session' | 'shared' | 'queue' | 'stream' | 'exchange' | 'mapping';
  readonly name: string;
  /** Takes the message without waiting. Must not publish from inside. */
  accept(message: Message, route: Route): Acceptance;
}

export interface Binding {
  readonly pattern: Pattern;
  readonly destination: Destination;
  /** A session's wishes; null elsewhere. */
  readonly options: SubscriptionOptions | null;
  /** The exchange that it belongs to; null where none is involved. */
  readonly via: string | null;
  /** Only messages with such headers. */
  readonly match: HeaderMatch | null;
  /** The mapping rule that it stands for; null elsewhere. */
  readonly rule: AnyRule | null;
  /** Of that rule, and its name. */
  readonly counters?: MappingCounters;
  readonly name?: string;
  /**
   * Rules of one family are asked until one takes the message; each family has a turn of its own. Absent: the
   * operator's mapping rules. Otherwise the bridge to which the rule belongs.
   */
  readonly family?: string;
}

/** One destination of some addresses. Immutable and shared by all messages and addresses that are bound alike. */
export interface Route {
  readonly destination: Destination;
  readonly bindings: readonly Binding[];
  /** Merged over all bindings. */
  readonly options: DeliveryOptions;
  /** Every binding has a condition: one of them must hold. */
  readonly guarded: boolean;
  /** What the destination worked out about this route and keeps with it. */
  memo?: unknown;
}

/** Where a message goes that nothing bound to `exchange` wanted: to what is bound to `alternate`, at `address`. */
export interface Fallback {
  readonly exchange: string;
  readonly alternate: string;
  readonly address: string;
}

export interface RouteSet {
  readonly routes: readonly Route[];
  /** Some way to a destination leads through an exchange on a condition: ask `routesOf` for each message. */
  readonly conditional: boolean;
  readonly fallback: Fallback | null;
  /** What the retained store worked out about the address and keeps with it. */
  retainedMemo: unknown;
}

/** What the router must know of exchanges to follow a message from one to the next. */
export interface ExchangeLinks {
  /** The address of the target exchange's subtree for a message at `address` that came through exchange `via`. */
  forward(target: string, address: string, via: string): string;
  /** The alternate of `exchange`, or where that is null of the exchange whose subtree holds `address`. */
  fallback(address: string, exchange: string | null): Fallback | null;
}

/** A place on the way of a message: an address, of which only what is bound to `exchange` counts. */
interface Place {
  readonly address: string;
  readonly exchange: string | null;
  /** The exchange that it first came through. */
  readonly origin: string | null;
}

interface CachedSet extends RouteSet {
  /** Addresses bound alike that are resolved one after another share one list, which takes memory once. */
  routes: readonly Route[];
  generation: number;
  /** Every address whose matches went into it. */
  readonly addresses: readonly string[];
}

/** Changes that a remembered route is compared with before it is resolved anew without looking. */
const JOURNAL_ENTRIES_MAX = 64;
const NO_LINKS: ExchangeLinks = { forward: (_target, address) => address, fallback: () => null };

export class Router {
  readonly #index = new BindingIndex();
  /** Of the operator's mapping rules, apart from the others so that all of them can be exchanged at once. */
  #rules = new BindingIndex();
  readonly #cache: RouteCache<CachedSet>;
  readonly #bounds: AddressBounds;
  /** The last changes, newest last; the newest has the number `generation`. */
  #journal: Pattern[] = [];
  #links: ExchangeLinks = NO_LINKS;
  #generation = 0;
  /** Of the address that was resolved last. */
  #lastRoutes: readonly Route[] = [];

  constructor(cacheEntriesMax: number, bounds: AddressBounds = DEFAULT_LIMITS) {
    this.#cache = new RouteCache(cacheEntriesMax);
    this.#bounds = bounds;
  }

  /** Grows with every change. */
  get generation(): number {
    return this.#generation;
  }

  get bindingCount(): number {
    return this.#index.count + this.#rules.count;
  }

  /** Exchanges are built on the router and then tell it how they link. */
  linkExchanges(links: ExchangeLinks): void {
    this.#links = links;
  }

  add(binding: Binding): void {
    this.#indexOf(binding).add(binding);
    this.changed(binding.pattern);
  }

  /** Removes exactly this binding object; unknown ones are ignored. */
  remove(binding: Binding): void {
    if (this.#indexOf(binding).remove(binding)) this.changed(binding.pattern);
  }

  #indexOf({ rule, family }: Binding): BindingIndex {
    return rule === null || family !== undefined ? this.#index : this.#rules;
  }

  /** These bindings take the place of those of all the operator's mapping rules, and every remembered route is asked for anew. */
  exchangeRules(rules: BindingIndex): void {
    this.#rules = rules;
    // Further than the journal reaches: nothing that was remembered is compared with it.
    this.#generation += JOURNAL_ENTRIES_MAX + 1;
    this.#journal = [];
  }

  /** Forgets remembered routes of addresses that `pattern` matches: bindings or links there have changed. */
  changed(pattern: Pattern): void {
    this.#generation++;
    this.#journal.push(pattern);
    if (this.#journal.length > 2 * JOURNAL_ENTRIES_MAX)
      this.#journal = this.#journal.slice(JOURNAL_ENTRIES_MAX);
  }

  /** Everything that wants messages of this address. Throws CoreError `invalid-name` for one that is too long. */
  routes(address: string): RouteSet {
    const cached = this.#cache.get(address);
    if (cached !== undefined && (cached.generation === this.#generation || this.#isStillTrue(cached)))
      return cached;
    return this.#resolve(address);
  }

  /** As `routes`, for one message, where conditions stand on the way. */
  routesOf(message: Message): RouteSet {
    return this.#follow(message.address, null, message.properties.headers);
  }

  /** Where a message goes in another exchange that nothing bound to the first one wanted. */
  routesInstead(message: Message, fallback: Fallback): RouteSet {
    return this.#follow(fallback.address, fallback.alternate, message.properties.headers);
  }

  /** Whether anything but `except` wants, or could want, messages of an address that `pattern` matches. */
  wanted(pattern: Pattern, except: Destination): boolean {
    if (pattern.literal !== null) {
      const set = this.routes(pattern.literal);
      return set.fallback !== null || set.routes.some((route) => route.destination !== except);
    }
    const wants = (binding: Binding) =>
      binding.destination !== except && !leadsOnlyTo(binding, except) && binding.pattern.overlaps(pattern);
    return this.#index.some(wants) || this.#rules.some(wants);
  }

  #isStillTrue(cached: CachedSet): boolean {
    const missed = this.#generation - cached.generation;
    if (missed > JOURNAL_ENTRIES_MAX) return false;
    const journal = this.#journal;
    for (let i = journal.length - missed; i < journal.length; i++) {
      const pattern = journal[i] as Pattern;
      for (const address of cached.addresses) if (pattern.matches(address)) return false;
    }
    cached.generation = this.#generation;
    return true;
  }

  #resolve(address: string): RouteSet {
    checkAddress(address, this.#bounds);
    const set = this.#follow(address, null, null);
    if (isSame(set.routes, this.#lastRoutes)) set.routes = this.#lastRoutes;
    else this.#lastRoutes = set.routes;
    this.#cache.set(address, set);
    return set;
  }

  /**
   * Matches one address and follows exchanges bound to exchanges, each once, so that circles end; one after the
   * other, because a client may make the chain as long as it likes. `headers` null: every condition on the way is
   * taken to hold. `exchange` null: everything that matches; else only what is bound to that exchange.
   */
  #follow(address: string, exchange: string | null, headers: readonly Header[] | null): CachedSet {
    const found = new Map<Destination, Binding[]>();
    const places: Place[] = [{ address, exchange, origin: null }];
    const visited = new Set<string>([exchange === null ? address : placeKey(exchange, address)]);
    let conditional = false;
    for (let at = 0; at < places.length; at++) {
      const place = places[at] as Place;
      for (const binding of this.#matches(place.address)) {
        // A rule may take only some of what its pattern matches.
        if (binding.rule?.accepts?.(place.address) === false) continue;
        // Only what is bound to the exchange follows a forward; plain subscribers see the address published to.
        if (place.exchange !== null && binding.via !== place.exchange) continue;
        // A message that was forwarded is delivered under the exchange that it first came through.
        const via = binding.via === null ? null : (place.origin ?? binding.via);
        if (binding.destination.kind === 'exchange') {
          if (binding.match !== null) {
            if (headers === null) conditional = true;
            else if (!matchesHeaders(binding.match, headers)) continue;
          }
          const target = binding.destination.name;
          const next = this.#links.forward(target, place.address, binding.via as string);
          const key = placeKey(target, next);
          if (next === address || visited.has(key)) continue;
          visited.add(key);
          places.push({ address: next, exchange: target, origin: via });
          continue;
        }
        const seen = via === binding.via ? binding : { ...binding, via };
        const bindings = found.get(binding.destination);
        if (bindings === undefined) found.set(binding.destination, [seen]);
        else bindings.push(seen);
      }
    }
    const routes: Route[] = [];
    for (const [destination, bindings] of found) {
      const guarded = bindings.every((binding) => binding.match !== null);
      routes.push({ destination, bindings, options: optionsOf(bindings), guarded, memo: null });
    }
    return {
      routes,
      conditional,
      fallback: this.#links.fallback(address, exchange),
      retainedMemo: null,
      generation: this.#generation,
      addresses: places.length === 1 ? [address] : [...new Set(places.map((place) => place.address))],
    };
  }

  #matches(address: string): Set<Binding> {
    const result = new Set<Binding>();
    const levels = this.#index.hasPatterns || this.#rules.hasPatterns ? address.split('/') : [];
    this.#index.collect(address, levels, result);
    this.#rules.collect(address, levels, result);
    return result;
  }
}

/** A rule that leads to this stream alone takes nothing that comes from it. */
function leadsOnlyTo({ rule }: Binding, { kind, name }: Destination): boolean {
  if (rule === null || kind !== 'stream' || !isRouting(rule)) return false;
  return rule.targets.every((target) => target.kind === 'stream' && target.name === name);
}

/** Whether the same bindings lead to the same destinations. */
function isSame(routes: readonly Route[], others: readonly Route[]): boolean {
  return (
    routes.length === others.length &&
    routes.every(({ bindings }, i) => {
      const { bindings: known } = others[i] as Route;
      return bindings.length === known.length && bindings.every((binding, at) => binding === known[at]);
    })
  );
}

/** Unambiguous, whatever the names hold. */
function placeKey(exchange: string, address: string): string {
  return `${exchange.length}:${exchange}${address}`;
}

/** One copy with the highest reliability, all the subscriber's numbers, and the first exchange that it came by. */
export function optionsOf(bindings: readonly Binding[]): DeliveryOptions {
  let reliability: Reliability = 0;
  let keepRetain = false;
  let via: string | null = null;
  const subscriptionIds: number[] = [];
  for (const binding of bindings) {
    const wanted = binding.options;
    if (wanted !== null) {
      if (wanted.reliability > reliability) reliability = wanted.reliability;
      if (wanted.keepRetain) keepRetain = true;
      if (wanted.id !== 0 && !subscriptionIds.includes(wanted.id)) subscriptionIds.push(wanted.id);
    }
    via ??= binding.via;
  }
  return { reliability, subscriptionIds, retained: false, keepRetain, via };
}
