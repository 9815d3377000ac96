/**
 * All sessions by id. Durable ones are written to three tables (`sessions`, `subscriptions`, `session-state`)
 * under a number that also names their log, so that no id is too long for a key. A session whose connection was
 * there when the process ended begins its expiry when the process is back.
 */

import { decodeDefinition, encodeDefinition } from './definition.ts';
import { CoreError } from './errors.ts';
import type { GroupBounds, GroupContext } from './group-context.ts';
import type { Session, Sessions, SubscriptionOptions } from './index.ts';
import type { Limits } from './limits.ts';
import { LogTurns } from './log-turns.ts';
import { Pattern } from './pattern.ts';
import type { Router } from './router.ts';
import { type SessionHome, StoredSession, type SubscriptionEntry } from './session.ts';
import type { SharedSubscription } from './shared.ts';
import { SharedRegistry } from './shared-registry.ts';
import type { SharingStrategy } from './sharing.ts';
import type { RowLog, Storage, Table } from './storage.ts';

/** A session that expired while the process was away stays so long after the start. */
const EXPIRY_GRACE_MS = 5_000;

export interface SessionsOptions {
  readonly context: GroupContext;
  readonly router: Router;
  readonly storage: Storage;
  readonly limits: Limits;
}

interface SessionRecord {
  readonly id: string;
  /** Milliseconds since 1970; 0 while attached. */
  readonly expiresAtMs: number;
  /** From the end of the process on, where it was attached then. */
  readonly expiryMs: number;
  /** It is no more, but its log still holds what goes back to shared subscriptions. */
  readonly ended?: true;
}

interface SubscriptionRecord {
  readonly pattern: string;
  readonly options: SubscriptionOptions;
}

export class SessionRegistry implements Sessions, SessionHome {
  readonly context: GroupContext;
  readonly router: Router;
  readonly limits: Limits;
  readonly bounds: GroupBounds;
  readonly moves = new LogTurns();
  readonly #storage: Storage;
  readonly #sessionTable: Table;
  readonly #subscriptionTable: Table;
  readonly #stateTable: Table;
  readonly #sessions = new Map<string, StoredSession>();
  readonly #records = new Map<number, SessionRecord>();
  readonly #shared: SharedRegistry;
  readonly #opening = new Map<string, Promise<unknown>>();
  #nextNumber = 1;

  private constructor(
    options: SessionsOptions,
    bounds: GroupBounds,
    shared: SharedRegistry,
    tables: readonly [Table, Table, Table],
  ) {
    this.context = options.context;
    this.router = options.router;
    this.limits = options.limits;
    this.bounds = bounds;
    this.#shared = shared;
    this.#storage = options.storage;
    [this.#sessionTable, this.#subscriptionTable, this.#stateTable] = tables;
  }

  static async load(options: SessionsOptions): Promise<SessionRegistry> {
    const { storage, limits } = options;
    const bounds: GroupBounds = {
      messagesMax: limits.sessionQueueMessagesMax,
      bytesMax: limits.sessionQueueBytesMax,
      overflow: 'drop-oldest',
      messageTtlMs: -1,
    };
    const shared = await SharedRegistry.load({ ...options, bounds });
    const registry = new SessionRegistry(options, bounds, shared, [
      await storage.openTable('sessions'),
      await storage.openTable('subscriptions'),
      await storage.openTable('session-state'),
    ]);
    await registry.#restore();
    return registry;
  }

  async open(
    id: string,
    options: { readonly clean: boolean; readonly durable: boolean; readonly expiryMs?: number },
  ): Promise<{ readonly session: StoredSession; readonly present: boolean }> {
    // Two opens of one id take turns, so that there is never a second session of it.
    for (let other = this.#opening.get(id); other !== undefined; other = this.#opening.get(id)) {
      // Whether it came to its end is the affair of whoever asked for it.
      await other.catch(() => undefined);
    }
    const opened = this.#open(id, options).finally(() => this.#opening.delete(id));
    this.#opening.set(id, opened);
    return opened;
  }

  get(id: string): StoredSession | undefined {
    return this.#sessions.get(id);
  }

  *list(): Iterable<Session> {
    yield* this.#sessions.values();
  }

  get count(): number {
    return this.#sessions.size;
  }

  end(id: string): void {
    const session = this.#sessions.get(id);
    if (session !== undefined) this.ended(session);
  }

  shareBy(strategy: SharingStrategy): void {
    this.#shared.strategy = strategy;
  }

  openShared(name: string, pattern: Pattern): SharedSubscription {
    return this.#shared.open(name, pattern);
  }

  get sharedCount(): number {
    return this.#shared.count;
  }

  shared(key: string): SharedSubscription | undefined {
    return this.#shared.get(key);
  }

  ended(session: StoredSession): void {
    if (this.#sessions.get(session.id) !== session) return;
    this.#sessions.delete(session.id);
    const returning = session.close();
    if (session.log === null) return;
    for (const entry of session.subscriptions.values()) this.forgetSubscription(session, entry);
    for (const key of session.state.keys()) this.#stateTable.remove(`${session.number}/${key}`);
    this.#forgetAfter(returning, session.number, session.log);
  }

  /** Ends at its next page what goes back to shared subscriptions; the next start goes on with it. */
  async close(): Promise<void> {
    await this.moves.close();
  }

  saveSubscription(session: StoredSession, entry: SubscriptionEntry): void {
    if (!session.durable) return;
    const record: SubscriptionRecord = { pattern: entry.pattern.key, options: entry.options };
    this.#subscriptionTable.put(`${session.number}/${entry.number}`, encodeDefinition(record));
    this.context.durability.written();
  }

  forgetSubscription(session: StoredSession, entry: SubscriptionEntry): void {
    if (!session.durable) return;
    this.#subscriptionTable.remove(`${session.number}/${entry.number}`);
    this.context.durability.written();
  }

  saveState(session: StoredSession, key: string, value: Uint8Array | null): void {
    if (!session.durable) return;
    const row = `${session.number}/${key}`;
    if (value === null) this.#stateTable.remove(row);
    else this.#stateTable.put(row, value);
    this.context.durability.written();
  }

  saveExpiry(session: StoredSession, expiresAtMs: number): void {
    if (!session.durable) return;
    const known = this.#records.get(session.number);
    this.#saveRecord(session.number, {
      id: session.id,
      expiresAtMs,
      expiryMs: known?.expiryMs ?? Number.POSITIVE_INFINITY,
    });
  }

  async #open(
    id: string,
    options: { readonly clean: boolean; readonly durable: boolean; readonly expiryMs?: number },
  ): Promise<{ readonly session: StoredSession; readonly present: boolean }> {
    const known = this.#sessions.get(id);
    // One that need not survive any longer stays where it is written: that does no harm, and loses nothing.
    if (known !== undefined && !options.clean && (known.durable || !options.durable)) {
      this.#setExpiry(known, options.expiryMs);
      return { session: known, present: true };
    }
    if (known !== undefined && options.clean) this.ended(known);
    if (!this.#sessions.has(id) && this.#sessions.size >= this.limits.sessionsMax) {
      throw new CoreError('limit-reached', `there are ${this.#sessions.size} sessions already (sessionsMax)`);
    }
    const number = options.durable ? this.#nextNumber++ : 0;
    const log = options.durable
      ? await this.#storage.openRowLog(`session-${number}`, { durable: true })
      : null;
    const session = new StoredSession(this, id, number, log);
    // One that begins to survive moves into a session with a log; it may have expired while that was opened.
    const earlier = this.#sessions.get(id);
    this.#sessions.set(id, session);
    if (options.durable) {
      this.#saveRecord(number, {
        id,
        expiresAtMs: 0,
        expiryMs: options.expiryMs ?? Number.POSITIVE_INFINITY,
      });
    }
    if (earlier !== undefined) session.succeed(earlier);
    return { session, present: earlier !== undefined };
  }

  /** `returning`: the session's record and log have to stay until then, also should the process end before. */
  #forgetAfter(returning: Promise<boolean> | null, number: number, log: RowLog): void {
    if (returning === null) {
      this.#forget(number, log);
      return;
    }
    const record = this.#records.get(number) as SessionRecord;
    this.#saveRecord(number, { ...record, ended: true });
    returning
      .then((whole) => {
        if (whole) this.#forget(number, log);
      })
      .catch((error: unknown) => this.context.readFailed(error));
  }

  #forget(number: number, log: RowLog): void {
    this.#records.delete(number);
    this.#sessionTable.remove(String(number));
    log.delete().catch((error: unknown) => this.context.readFailed(error));
    this.context.durability.written();
  }

  #setExpiry(session: StoredSession, expiryMs: number | undefined): void {
    const record = this.#records.get(session.number);
    if (record === undefined || expiryMs === undefined || record.expiryMs === expiryMs) return;
    this.#saveRecord(session.number, { ...record, expiryMs });
  }

  #saveRecord(number: number, record: SessionRecord): void {
    this.#records.set(number, record);
    this.#sessionTable.put(String(number), encodeDefinition(record));
    this.context.durability.written();
  }

  async #restore(): Promise<void> {
    const nowMs = this.context.clock.nowMs();
    const byNumber = new Map<number, StoredSession>();
    const ended: StoredSession[] = [];
    for await (const [key, bytes] of this.#sessionTable.scan('')) {
      const number = Number(key);
      const record = decodeDefinition(bytes) as SessionRecord;
      const log = await this.#storage.openRowLog(`session-${number}`, { durable: true });
      const session = new StoredSession(this, record.id, number, log);
      this.#records.set(number, record);
      this.#nextNumber = Math.max(this.#nextNumber, number + 1);
      if (record.ended === true) {
        ended.push(session);
        continue;
      }
      this.#sessions.set(record.id, session);
      byNumber.set(number, session);
    }
    for await (const [key, bytes] of this.#subscriptionTable.scan('')) {
      const [number, entry] = key.split('/').map(Number) as [number, number];
      const record = decodeDefinition(bytes) as SubscriptionRecord;
      byNumber.get(number)?.restore(Pattern.parse(record.pattern), record.options, entry);
    }
    this.#shared.restored();
    for (const session of ended) this.#forgetAfter(session.close(), session.number, session.log as RowLog);
    for await (const [key, bytes] of this.#stateTable.scan('')) {
      const slash = key.indexOf('/');
      byNumber.get(Number(key.slice(0, slash)))?.restoreState(key.slice(slash + 1), bytes);
    }
    for (const [number, session] of byNumber) {
      const record = this.#records.get(number) as SessionRecord;
      const expiresAtMs = record.expiresAtMs === 0 ? nowMs + record.expiryMs : record.expiresAtMs;
      // Written down, so that a process that restarts again and again does not keep it for ever.
      if (record.expiresAtMs === 0) this.saveExpiry(session, expiresAtMs);
      // What ended meanwhile ends when adapters have had the time to look at what it leaves behind.
      session.expireAt(Math.max(expiresAtMs, this.context.clock.nowMs() + EXPIRY_GRACE_MS));
    }
  }
}
