/**
 * The way in: from a publisher to every destination, without waiting. Order is decided here, synchronously;
 * durability comes later through the receipt. Also used for what the core publishes itself: records of streams
 * and dead letters.
 */

import { type Access, ALLOW_ALL, isSystemAddress, LastAnswer, type Principal } from './access.ts';
import { queueAddress } from './address.ts';
import { checkAddress } from './address-bounds.ts';
import type { Clock } from './clock.ts';
import type { Congestion } from './congestion.ts';
import { withoutHistory } from './dead-letter.ts';
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
import { checkDerivedAddress, RuleError } from './mapping-rule.ts';
import { type Derived, type MappingRunner, RULE_OUTPUTS_MAX } from './mapping-runner.ts';
import type { Message } from './message.ts';
import type { ReplyTokens } from './replies.ts';
import { isReplyAddress } from './reply-address.ts';
import type { RetainedStore } from './retained.ts';
import {
  type Acceptance,
  type Destination,
  FULL,
  IGNORED,
  optionsOf,
  REFUSED,
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
  readonly replies: ReplyTokens;
  /** The queue that a message at this address would wait in if it were there; null where there is nothing to make. */
  readonly missingQueueAt: (address: string) => string | null;
  readonly provideQueue: (name: string) => void;
  readonly mappings: MappingRunner;
}

const DOLLAR = 0x24;

/** The routes of longer addresses are found each time: one publisher could fill the memory with such addresses. */
const REMEMBERED_CHARS_MAX = 512;

/** Rounds of dead letters that make dead letters in one commit; what is left then waits for the next. */
const DEAD_LETTER_ROUNDS_MAX = 16;

export class Publishing {
  readonly #options: PublishingOptions;
  readonly #counters: CoreCounters;
  readonly #router: Router;
  readonly #durability: Durability;
  readonly #mappings: MappingRunner;
  #later: Message[] = [];

  constructor(options: PublishingOptions) {
    this.#options = options;
    this.#counters = options.counters;
    this.#router = options.router;
    this.#durability = options.durability;
    this.#mappings = options.mappings;
    options.durability.beforeCommit(() => this.#publishLate());
  }

  /** Throws what a durable message is refused with while the disk takes nothing: it would only wait in memory. */
  #checkDisk(message: Message): void {
    const { refusal } = this.#durability;
    if (refusal === null || !(message.durable || this.#options.congestion.pressing)) return;
    this.#counters.refused++;
    throw refusal;
  }

  openPublisher(info: PublisherInfo): Publisher {
    const { congestion, access } = this.#options;
    congestion.listen(info);
    const rights = new LastAnswer(info.isGateway === true ? ALLOW_ALL : access, 'publish');
    return {
      publish: (message, sink, token) => {
        const { address } = message;
        const isReserved = address.charCodeAt(0) === DOLLAR;
        if (isReserved && isReplyAddress(address)) {
          return this.#publishReply(message, info, sink, token);
        }
        if (!rights.may(info.principal, address) || (isReserved && isSystemAddress(address))) {
          this.#counters.refused++;
          throw new CoreError('access-refused', `may not publish to '${address}'`);
        }
        if (isReserved && info.providesQueues === true) this.provideQueue(address, info.principal);
        return this.publish(asClientsMay(message), info.principal, sink, token, info.isGone === true);
      },
      close: () => congestion.forget(info),
    };
  }

  /** No rule is asked about the reply address itself: whoever knows one was handed the request. */
  #publishReply(
    message: Message,
    { principal, isGone }: PublisherInfo,
    sink: ReceiptSink | null,
    token: number,
  ): PublishResult {
    const counters = this.#counters;
    let answer: Message | null;
    try {
      answer = this.#options.replies.resolve(message, principal);
    } catch (error) {
      counters.refused++;
      throw error;
    }
    if (answer !== null) return this.publish(asClientsMay(answer), principal, sink, token, isGone === true);
    counters.published++;
    counters.publishedBytes += message.body.length;
    counters.noRoute++;
    return NO_ROUTE;
  }

  /**
   * `principal`: who publishes, for the rules that ask; null where no client does. `isGone`: nobody keeps what is refused.
   */
  publish(
    message: Message,
    principal: Principal | null,
    sink: ReceiptSink | null,
    token: number,
    isGone = principal === null,
  ): PublishResult {
    const counters = this.#counters;
    this.#mappings.principal = principal;
    counters.published++;
    counters.publishedBytes += message.body.length;
    if (message.body.length > this.#options.limits.messageBytesMax) throw this.#tooLarge(message);
    if (this.#durability.refusal !== null) this.#checkDisk(message);
    let result: Acceptance;
    try {
      result = this.route(message, null);
    } catch (error) {
      counters.refused++;
      this.#mappings.refused(isGone);
      throw error;
    }
    if (result >= FULL) throw this.#refused(message, result, isGone);
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

  #tooLarge({ body }: Message): CoreError {
    this.#counters.refused++;
    return new CoreError(
      'message-too-large',
      `${body.length} bytes are more than ${this.#options.limits.messageBytesMax} (messageBytesMax)`,
    );
  }

  #refused(message: Message, said: Acceptance, isGone: boolean): CoreError {
    this.#counters.refused++;
    this.#mappings.refused(isGone);
    return said === REFUSED
      ? new CoreError('refused-by-rule', this.#mappings.refusal)
      : new CoreError('overflow', `a queue for '${message.address}' is full`);
  }

  /** Makes the queue at whose address a message of `principal` is, where there is none. Throws CoreError. */
  provideQueue(address: string, principal: Principal): void {
    const { access, missingQueueAt, provideQueue } = this.#options;
    const name = missingQueueAt(address);
    if (name === null) return;
    try {
      if (!access.unrestricted && !access.may(principal, 'configure', queueAddress(name)))
        throw new CoreError('access-refused', `there is no queue '${name}', and it may not be made`);
      provideQueue(name);
    } catch (error) {
      this.#counters.refused++;
      throw error;
    }
  }

  #routesFor(message: Message): RouteSet {
    const { address } = message;
    if (address.length > REMEMBERED_CHARS_MAX) {
      checkAddress(address, this.#options.limits);
      return this.#router.routesOf(message);
    }
    const set = this.#router.routes(address);
    return set.conditional ? this.#router.routesOf(message) : set;
  }

  /**
   * Gives the message, and what mapping rules make of it, to everything that wants it but `except`, and tells the
   * strongest that was said.
   */
  route(message: Message, except: Destination | null): Acceptance {
    let result: Acceptance;
    try {
      result = this.#give(message, except);
    } catch (error) {
      // Some destinations have the message all the same, and so has what rules made of it before.
      if (this.#mappings.waiting > 0) this.#giveDerived(IGNORED);
      throw error;
    }
    return this.#mappings.waiting === 0 ? result : this.#giveDerived(result);
  }

  /** What rules made is routed as they made it, and what they make of that in turn, within a bound. */
  #giveDerived(before: Acceptance): Acceptance {
    const mappings = this.#mappings;
    const { principal, origin, path } = mappings;
    mappings.principal = null;
    let result = before;
    let count = 0;
    try {
      while (mappings.waiting > 0) {
        for (const derived of mappings.take()) {
          const said =
            ++count > RULE_OUTPUTS_MAX
              ? mappings.failed(derived, 'fan-out', `one message made more than ${RULE_OUTPUTS_MAX} messages`)
              : this.#publishDerived(derived);
          if (said > result) result = said;
        }
      }
    } finally {
      // Whatever was thrown: the next message did not come this way.
      mappings.principal = principal;
      mappings.origin = origin;
      mappings.path = path;
    }
    return result;
  }

  #publishDerived(derived: Derived): Acceptance {
    const { message } = derived;
    try {
      checkDerivedAddress(message.address);
      this.#mappings.path = derived.path;
      return this.#mappings.published(derived, this.#give(message, null));
    } catch (error) {
      if (error instanceof RuleError) return this.#mappings.failed(derived, error.failure, error.message);
      if (!(error instanceof CoreError)) throw error;
      const failure = error.code === 'invalid-name' ? 'address' : 'storage';
      return this.#mappings.failed(derived, failure, error.message);
    }
  }

  #give(message: Message, except: Destination | null): Acceptance {
    const set = this.#routesFor(message);
    let result: Acceptance = IGNORED;
    if (message.retain) result = this.#retain(message, set);
    const { routes } = set;
    for (let i = 0; i < routes.length; i++) {
      const route = routes[i] as Route;
      if (route.destination === except) continue;
      const said = route.guarded ? acceptGuarded(message, route) : route.destination.accept(message, route);
      if (said > result) result = said;
    }
    return set.fallback === null ? result : this.#fallBack(message, set, except, result);
  }

  /** An address that remembers has taken the message, whoever else wants it. */
  #retain(message: Message, routes: RouteSet): Acceptance {
    this.#options.retained.set(message, routes);
    return message.durable ? WRITTEN : TAKEN;
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
      this.#mappings.principal = null;
      for (let i = 0; i < messages.length; i++) {
        const message = messages[i] as Message;
        try {
          if (this.route(message, null) >= FULL) {
            this.#counters.dropped++;
            this.#mappings.refused(true);
          }
        } catch (error) {
          if (!(error instanceof CoreError)) throw error;
          this.#mappings.refused(error.code !== 'storage-failed');
          if (error.code === 'storage-failed') {
            // Its queue has forgotten it already, so it waits here until the disk takes it.
            for (; i < messages.length; i++) this.#later.push(messages[i] as Message);
            this.#durability.retry();
            throw error;
          }
          this.#counters.dropped++;
        }
      }
    }
    if (this.#later.length > 0) this.#durability.again();
  }

  /** The alternate exchange gets what nothing bound to the first one took, its own alternate what it did not take. */
  #fallBack(message: Message, first: RouteSet, except: Destination | null, before: Acceptance): Acceptance {
    let result = before;
    const tried = new Set<string>();
    // Who had it by another way gets no second copy.
    const reached = new Set<Destination>(except === null ? [] : [except]);
    for (const route of first.routes) if (appliesTo(route, message)) reached.add(route.destination);
    let set = first;
    for (
      let { fallback } = set;
      fallback !== null && !tried.has(fallback.exchange);
      fallback = set.fallback
    ) {
      const { exchange } = fallback;
      const taken = set.routes.some(
        (route) => appliesTo(route, message) && route.bindings.some((binding) => binding.via === exchange),
      );
      if (taken) break;
      tried.add(exchange);
      set = this.#router.routesInstead(message, fallback);
      for (const route of set.routes) {
        if (reached.has(route.destination)) continue;
        const said = route.guarded ? acceptGuarded(message, route) : route.destination.accept(message, route);
        if (said > result) result = said;
        if (appliesTo(route, message)) reached.add(route.destination);
      }
    }
    return result;
  }
}

/** Clients write no history of deaths. In a protocol's encoded form it is not believed, so that is not looked into. */
function asClientsMay(message: Message): Message {
  return message.codec !== null || message.properties.headers.length === 0
    ? message
    : withoutHistory(message);
}

/** The bindings whose condition the message meets. */
function metBindings(message: Message, route: Route): Route['bindings'] {
  const { headers } = message.properties;
  return route.bindings.filter(({ match }) => match === null || matchesHeaders(match, headers));
}

function appliesTo(route: Route, message: Message): boolean {
  return !route.guarded || metBindings(message, route).length > 0;
}

function acceptGuarded(message: Message, route: Route): Acceptance {
  const bindings = metBindings(message, route);
  if (bindings.length === 0) return IGNORED;
  const options = optionsOf(bindings);
  return route.destination.accept(message, {
    destination: route.destination,
    bindings,
    options,
    guarded: false,
  });
}
