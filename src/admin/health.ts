/**
 * What orchestrators ask: is the process alive, has it started, may clients come. Liveness looks at nothing but the event
 * loop: a gateway whose disk is full is alive. Readiness is what `src/gateway.ts` says: 503 while it starts or drains or the
 * disk refuses writes, with the names of the checks that fail. Answered by the routes of `health-routes.ts`, and by
 * `index.ts` itself as long as nobody has asked for anything else, so that a probe does not load the whole API.
 */

import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { AdminOptions, ReadinessCheck } from './options.ts';

const DELAY_RESOLUTION_MS = 20;

/** `/healthz` is another name of `/livez`. Open to everybody: orchestrators hold no key. */
export const HEALTH_PATHS = ['/livez', '/healthz', '/readyz', '/startupz'] as const;
export type HealthPath = (typeof HEALTH_PATHS)[number];

export interface HealthAnswer {
  readonly code: 200 | 503;
  readonly body: {
    readonly status: 'ok' | 'failing';
    readonly failing: string[];
    readonly checks?: ReadinessCheck[];
  };
}

export class Health {
  readonly delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS });
  readonly #options: Pick<AdminOptions, 'readiness' | 'settings'>;

  /** Measures from now on, until `stop`. */
  constructor(options: Pick<AdminOptions, 'readiness' | 'settings'>) {
    this.#options = options;
    this.delay.enable();
  }

  answer(path: HealthPath, isVerbose: boolean): HealthAnswer {
    if (path === '/readyz') return answerOf(this.#options.readiness(), isVerbose);
    if (path === '/startupz') {
      return answerOf(
        this.#options.readiness().filter(({ name }) => name === 'listeners'),
        true,
      );
    }
    const slowest = this.delay.max / 1e6;
    this.delay.reset();
    const ok = slowest <= this.#options.settings.loopDelayMsMax;
    const detail = `delayed by at most ${Math.round(slowest)} ms since last asked`;
    return answerOf([{ name: 'event-loop', ok, detail }], true);
  }

  stop(): void {
    this.delay.disable();
  }
}

function answerOf(checks: readonly ReadinessCheck[], isVerbose: boolean): HealthAnswer {
  const failing = checks.filter((check) => !check.ok).map((check) => check.name);
  return {
    code: failing.length === 0 ? 200 : 503,
    body: {
      status: failing.length === 0 ? 'ok' : 'failing',
      failing,
      ...(isVerbose ? { checks: checks.map((check) => ({ ...check })) } : {}),
    },
  };
}

/** What a request asks for, where it is plain enough to be answered without the routes; null otherwise. */
export function plainHealthRequest(
  method: string | undefined,
  url: string | undefined,
): { readonly path: HealthPath; readonly isVerbose: boolean } | null {
  if (method !== 'GET' && method !== 'HEAD') return null;
  const [path, query] = (url ?? '').split('?', 2);
  const isVerbose = query === 'verbose' || query === 'verbose=true';
  if (query !== undefined && !(isVerbose && path === '/readyz')) return null;
  const found = HEALTH_PATHS.find((each) => each === path);
  return found === undefined ? null : { path: found, isVerbose };
}
