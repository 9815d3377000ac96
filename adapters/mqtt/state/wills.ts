/**
 * Wills that are due: published at once or after their delay, and taken back when the client resumes its session
 * before. One registry for the adapter, by client identifier. Source: MQTT 5.0 section 3.1.2.5 and 3.1.3.2.2.
 */

import { addressFromTopic, messageFromMqtt } from '../../../mappings/mqtt.ts';
import { type Core, CoreError, type Principal, type Timer } from '../../../src/core/index.ts';
import type { Logger } from '../../../src/host.ts';
import type { Will } from '../codec/connect.ts';

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

  /**
   * The connection ended without taking its will back. `[MQTT-3.1.2-8]`: it is published after its delay or with the
   * end of the session, whichever is sooner.
   */
  schedule(clientId: string, will: Will, principal: Principal, sessionExpiryMs: number): void {
    const delayMs = Math.min(will.delaySeconds * 1000, sessionExpiryMs);
    this.publishNow(clientId);
    if (delayMs <= 0) {
      this.#publish(clientId, will, principal);
      return;
    }
    const timer = this.#core.clock.after(delayMs, () => this.publishNow(clientId));
    this.#delayed.set(clientId, { will, principal, timer });
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

  publishAll(): void {
    for (const clientId of [...this.#delayed.keys()]) this.publishNow(clientId);
  }

  /** Rights and what the address remembers are judged now, not when the client connected. */
  #publish(clientId: string, will: Will, principal: Principal): void {
    const publisher = this.#core.openPublisher({ principal, congested: () => {} });
    try {
      const message = messageFromMqtt(will, addressFromTopic(will.topic), clientId, this.#core.clock.nowMs());
      publisher.publish(message, null, 0);
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      this.#logger.warn({ clientId, topic: will.topic, code: error.code }, 'a will was refused');
    } finally {
      publisher.close();
    }
  }
}
