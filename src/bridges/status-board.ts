/**
 * The state of one bridge for people: what it is in and since when, why, and the last things that went wrong. Every
 * change of state is a line in the log; a try that fails for the same reason as the one before is none.
 */

import type { Clock } from '../core/index.ts';
import type { Logger } from '../host.ts';
import { failureOfCode, LinkError, type LinkFailure } from '../outside.ts';
import type { BridgeState, BridgeStatus } from './index.ts';

const ERRORS_KEPT = 10;
/** Of a text that comes from outside. */
const TEXT_CHARS_MAX = 1_000;

export class StatusBoard {
  readonly #name: string;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #logger: Logger;
  #state: BridgeState = 'disconnected';
  #sinceMs: number;
  #reason = 'it has not started';
  #failure: LinkFailure | null = null;
  #errors: { readonly timeMs: number; readonly text: string }[] = [];
  retryAtMs: number | null = null;
  attempts = 0;

  constructor(name: string, clock: Pick<Clock, 'nowMs'>, logger: Logger) {
    this.#name = name;
    this.#clock = clock;
    this.#logger = logger;
    this.#sinceMs = clock.nowMs();
  }

  get state(): BridgeState {
    return this.#state;
  }

  /** `reason`: why it is not simply connected. */
  set(state: BridgeState, reason = '', failure: LinkFailure | null = null): void {
    const text = shortened(reason);
    const isNew = state !== this.#state;
    const isNews = isNew || failure !== this.#failure;
    this.#reason = text;
    this.#failure = failure;
    if (isNew) {
      this.#state = state;
      this.#sinceMs = this.#clock.nowMs();
    }
    if (!isNews) return;
    const isBad = state === 'disconnected' || state === 'degraded' || state === 'failed';
    const details = {
      bridge: this.#name,
      state,
      ...(text === '' ? {} : { reason: text }),
      ...(failure === null ? {} : { failure }),
    };
    if (isBad) this.#logger.warn(details, 'a bridge changed its state');
    else this.#logger.info(details, 'a bridge changed its state');
  }

  /** Among the last errors. The same as the newest counts once, with its latest time. */
  note(text: string): void {
    const error = { timeMs: this.#clock.nowMs(), text: shortened(text) };
    if (this.#errors[0]?.text === error.text) this.#errors[0] = error;
    else this.#errors = [error, ...this.#errors].slice(0, ERRORS_KEPT);
  }

  forget(): void {
    this.#errors = [];
    this.attempts = 0;
  }

  shown(): Omit<BridgeStatus, 'lag' | 'counters'> {
    return {
      state: this.#state,
      sinceMs: this.#sinceMs,
      reason: this.#reason,
      failure: this.#failure,
      retryAtMs: this.retryAtMs,
      attempts: this.attempts,
      errors: this.#errors,
    };
  }
}

/** What is wrong where a library only says that something is. */
export function failureOf(error: unknown): LinkFailure {
  if (error instanceof LinkError) return error.failure;
  const code = (error as { readonly code?: unknown } | null)?.code;
  return failureOfCode(code) ?? 'protocol';
}

export function textOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text === '' ? 'no reason was given' : text;
}

function shortened(text: string): string {
  return text.length > TEXT_CHARS_MAX ? `${text.slice(0, TEXT_CHARS_MAX)}…` : text;
}
