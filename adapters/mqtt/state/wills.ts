/**
 * Wills: published at once or after their delay when a connection ends, and taken back when the client resumes its
 * session before. One registry for the adapter, by client identifier. The will of a durable session is also kept in
 * the session's state under `w` from CONNECT on, so that it is published after a restart as well: what was connected
 * when the process ended lost its connection with it, and its delay counts from the start. Source: MQTT 5.0 section
 * 3.1.2.5 and 3.1.3.2.2.
 */

import { addressFromTopic, messageFromMqtt } from '../../../mappings/mqtt.ts';
import { expandQueueAlias } from '../../../mappings/mqtt-queues.ts';
import { type Core, CoreError, type Principal, type Session, type Timer } from '../../../src/core/index.ts';
import type { Logger } from '../../../src/host.ts';
import type { Will } from '../codec/connect.ts';
import { bytesFromWill, willFromBytes } from './will-record.ts';

const KEY = 'w';

interface DelayedWill {
  readonly will: Will;
  readonly principal: Principal;
  readonly timer: Timer;
}

export class Wills {
  readonly #core: Core;
  readonly #logger: Logger;
  readonly #delayed = new Map<string, DelayedWill>();

  constructor(core: Core, logger: Logger) {
    this.#core = core;
    this.#logger = logger;
  }

  /** What earlier runs of the process left. */
  restore(): void {
    for (const session of [...this.#core.sessions.list()]) {
      const bytes = session.state.get(KEY);
      const record = bytes === undefined ? null : willFromBytes(bytes);
      if (record === null) continue;
      const { will, principal, dueMs, waitMs } = record;
      const leftMs = dueMs === 0 ? waitMs : dueMs - this.#core.clock.nowMs();
      this.#publishAfter(leftMs, session.id, will, principal);
    }
  }

  /** The client is connected, with this will or none. */
  keep(session: Session, will: Will | null, principal: Principal, sessionExpiryMs: number): void {
    if (!session.durable) return;
    if (will === null) this.forget(session.id);
    else {
      const waitMs = waitMsOf(will, sessionExpiryMs);
      session.putState(KEY, bytesFromWill({ will, principal, dueMs: 0, waitMs }));
    }
  }

  /** The client took it back, or it is published. */
  forget(clientId: string): void {
    const session = this.#core.sessions.get(clientId);
    if (session?.state.has(KEY) === true) session.removeState(KEY);
  }

  /**
   * The connection ended without taking its will back. `[MQTT-3.1.2-8]`: it is published after its delay or with the
   * end of the session, whichever is sooner.
   */
  schedule(clientId: string, will: Will, principal: Principal, sessionExpiryMs: number): void {
    this.publishNow(clientId);
    this.#publishAfter(waitMsOf(will, sessionExpiryMs), clientId, will, principal);
  }

  /** The session goes on: the will is not sent. `[MQTT-3.1.3-9]` */
  cancel(clientId: string): void {
    this.#delayed.get(clientId)?.timer.cancel();
    this.#delayed.delete(clientId);
  }

  /** Publishes what is delayed for this client: its time has come, or its session has ended. */
  publishNow(clientId: string): void {
    const delayed = this.#delayed.get(clientId);
    if (delayed === undefined) return;
    this.cancel(clientId);
    this.#publish(clientId, delayed.will, delayed.principal);
  }

  /** The process ends: what is kept is published when there is another one, the rest now rather than never. */
  stop(): void {
    for (const [clientId, { timer }] of [...this.#delayed]) {
      if (this.#core.sessions.get(clientId)?.state.has(KEY) === true) timer.cancel();
      else this.publishNow(clientId);
    }
    this.#delayed.clear();
  }

  #publishAfter(waitMs: number, clientId: string, will: Will, principal: Principal): void {
    if (waitMs <= 0) {
      this.#publish(clientId, will, principal);
      return;
    }
    const { clock, sessions } = this.#core;
    const timer = clock.after(waitMs, () => this.publishNow(clientId));
    this.#delayed.set(clientId, { will, principal, timer });
    const session = sessions.get(clientId);
    if (session?.durable !== true) return;
    const dueMs = clock.nowMs() + waitMs;
    session.putState(KEY, bytesFromWill({ will, principal, dueMs, waitMs }));
  }

  /** Rights and what the address remembers are judged now, not when the client connected. */
  #publish(clientId: string, will: Will, principal: Principal): void {
    const publisher = this.#core.openPublisher({
      principal,
      providesQueues: true,
      isGone: true,
      congested: () => {},
    });
    const address = addressFromTopic(expandQueueAlias(will.topic));
    try {
      const message = messageFromMqtt(will, address, clientId, this.#core.clock.nowMs());
      publisher.publish(message, null, 0);
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      this.#logger.warn({ clientId, topic: will.topic, code: error.code }, 'a will was refused');
    } finally {
      publisher.close();
      // [MQTT-3.1.2-10]; in the same commit as what it was published to.
      this.forget(clientId);
    }
  }
}

function waitMsOf(will: Will, sessionExpiryMs: number): number {
  return Math.min(will.delaySeconds * 1000, sessionExpiryMs);
}
