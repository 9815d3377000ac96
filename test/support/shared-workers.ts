/** Sessions that share the subscription `g` of the address `jobs`, and who publishes to it. */

import type { Core, Session, Subscription, SubscriptionOptions } from '../../src/core/index.ts';
import { Pattern } from '../../src/core/index.ts';
import { type Collector, collect, messageTo, type TestCore } from './core.ts';

export const JOBS = Pattern.of('jobs');

export function sharedBy(fields: Partial<SubscriptionOptions> = {}): SubscriptionOptions {
  return { reliability: 2, noLocal: false, keepRetain: false, id: 0, group: 'g', ...fields };
}

export async function openSession(core: Core, id: string, durable = false): Promise<Session> {
  return (await core.sessions.open(id, { clean: false, durable })).session;
}

export interface Worker {
  readonly session: Session;
  readonly seen: Collector;
  readonly subscription: Subscription;
}

export function attachWorker(session: Session, credit: number): Worker {
  const seen = collect();
  const subscription = session.attach(seen);
  subscription.grant(credit);
  return { session, seen, subscription };
}

/** Opens a session, subscribes it and attaches to it. */
export async function openWorker(
  core: Core,
  id: string,
  credit: number,
  fields: Partial<SubscriptionOptions> & { readonly durable?: boolean } = {},
): Promise<Worker> {
  const { durable = false, ...options } = fields;
  const session = await openSession(core, id, durable);
  session.subscribe(JOBS, sharedBy(options));
  return attachWorker(session, credit);
}

/** Publishes to `jobs`. */
export function publisherOf({ core }: TestCore, publisherId = 'p') {
  const publisher = core.openPublisher({
    principal: { user: '', groups: [], clientId: '' },
    congested: () => {},
  });
  return (body: string, reliability: 0 | 1 | 2 = 1, address = 'jobs') =>
    publisher.publish(messageTo(address, body, { reliability, publisherId }), null, 0);
}

/** The texts of the numbers from `from` to before `end`. */
export function numbers(from: number, end: number): string[] {
  return Array.from({ length: end - from }, (_, i) => `${from + i}`);
}

export function inOrder(bodies: readonly string[]): string[] {
  return [...bodies].sort((a, b) => Number(a) - Number(b));
}
