/**
 * The way in: from a publisher to every destination, without waiting. Order is decided here, synchronously;
 * durability comes later through the receipt. Also used for what the core publishes itself: records of streams
 * and dead letters.
 */

import { type Access, ALLOW_ALL } from './access.ts';
import type { Clock } from './clock.ts';
import type { Congestion } from './congestion.ts';
import type { Durability } from './durability.ts';
import { CoreError } from './errors.ts';
import { matchesHeaders } from './header-match.ts';
import {
  type CoreCounters,
  NO_ROUTE,
  PENDING,
  type Publisher,
  type PublisherInfo,
  type PublishResult,
  type ReceiptSink,
  STORED,
} from './index.ts';
import type { Limits } from './limits.ts';
import type { Message } from './message.ts';
import type { RetainedStore } from './retained.ts';
import {
  type Acceptance,
  type Destination,
  FULL,
  IGNORED,
  optionsOf,
  type Route,
  type Router,
  type RouteSet,
  TAKEN,
  WRITTEN,
} from './router.ts';

export interface PublishingOptions {
  readonly router: Router;
  readonly durability: Durability;
  readonly congestion: Congestion;
  readonly retained: RetainedStore;
  readonly access: Access;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly counters: CoreCounters;
}

/** Rounds of dead letters that make dead letters in one commit; what is left then waits for the next. */
const DEAD_LETTER_ROUNDS_MAX = 16;

export class Publishing {
  readonly #options: PublishingOptions;
  readonly #counters: CoreCounters;
  readonly #router: Router;
  readonly #durability: Durability;
  #later: Message[] = [];

  constructor(options: PublishingOptions) {
    this.#options = options;
    this.#counters = options.counters;
    this.#router = options.router;
    this.#durability = options.durability;
    options.durability.beforeCommit(() => this.#publishLate());
  }

  openPublisher(info: PublisherInfo): Publisher {
    const { congestion, access } = this.#options;
    congestion.listen(info);
    return {
      publish: (message, sink, token) => {
        if (access !== ALLOW_ALL && !access.may(info.principal, 'publish', message.address)) {
          this.#counters.refused++;
          throw new CoreError('access-refused', `may not publish to '${message.address}'`);
        }
        return this.publish(message, sink, token);
      },
      close: () => congestion.forget(info),
    };
  }

  publish(message: Message, sink: ReceiptSink | null, token: number): PublishResult {
    const counters = this.#counters;
    counters.published++;
    counters.publishedBytes += message.body.length;
    if (message.body.length > this.#options.limits.messageBytesMax) {
      counters.refused++;
      throw new CoreError(
        'message-too-large',
        `${message.body.length} bytes are more than ${this.#options.limits.messageBytesMax} (messageBytesMax)`,
      );
    }
    const result = this.route(message, null);
    if (result === FULL) {
      counters.refused++;
      throw new CoreError('overflow', `a queue for '${message.address}' is full`);
    }
    if (result === WRITTEN && sink !== null && message.durable) {
      this.#durability.wait(sink, token);
      return PENDING;
    }
    if (result === IGNORED) {
      counters.noRoute++;
      return NO_ROUTE;
    }
    return STORED;
  }

  /** Gives the message to everything that wants it but `except`, and tells the strongest that was said. */
  route(message: Message, except: Destination | null): Acceptance {
    const set = this.#router.routes(message.address);
    let result: Acceptance = IGNORED;
    if (message.retain) {
      this.#options.retained.set(message);
      // An address that remembers has taken the message, whoever else wants it.
      result = message.durable ? WRITTEN : TAKEN;
    }
    const { routes } = set;
    for (let i = 0; i < routes.length; i++) {
      const route = routes[i] as Route;
      if (route.destination === except) continue;
      const said =
        route.guards === null ? route.destination.accept(message, route) : acceptGuarded(message, route);
      if (said > result) result = said;
    }
    return set.fallback === null ? result : this.#fallBack(message, set, except, result);
  }

  /** The message is published before the next commit: for what arises while another message is being routed. */
  publishLater(message: Message): void {
    this.#later.push(message);
    this.#durability.written();
  }

  #publishLate(): void {
    for (let round = 0; this.#later.length > 0 && round < DEAD_LETTER_ROUNDS_MAX; round++) {
      const messages = this.#later;
      this.#later = [];
      for (const message of messages) this.route(message, null);
    }
    if (this.#later.length > 0) this.#durability.written();
  }

  /** The alternate exchange gets what nothing bound to the first one took. */
  #fallBack(message: Message, set: RouteSet, except: Destination | null, result: Acceptance): Acceptance {
    const { fallback, routes } = set;
    if (fallback === null) return result;
    const taken = routes.some(
      (route) =>
        route.bindings.some((binding) => binding.via === fallback.exchange) &&
        (route.guards === null || guardedBindings(message, route).length > 0),
    );
    if (taken) return result;
    for (const route of this.#router.routes(fallback.address).routes) {
      if (route.destination === except || route.options.via === null) continue;
      const said =
        route.guards === null ? route.destination.accept(message, route) : acceptGuarded(message, route);
      if (said > result) result = said;
    }
    return result;
  }
}

function guardedBindings(message: Message, route: Route): Route['bindings'] {
  const { guards } = route;
  if (guards === null) return route.bindings;
  return route.bindings.filter((_, i) =>
    (guards[i] ?? []).every((match) => matchesHeaders(match, message.properties.headers)),
  );
}

function acceptGuarded(message: Message, route: Route): Acceptance {
  const bindings = guardedBindings(message, route);
  if (bindings.length === 0) return IGNORED;
  return route.destination.accept(message, {
    ...route,
    bindings,
    options: optionsOf(bindings),
    guards: null,
  });
}
