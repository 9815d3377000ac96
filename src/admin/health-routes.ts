/**
 * `/livez`, `/readyz` and `/metrics`, for orchestrators and Prometheus. Liveness looks at nothing but the event
 * loop: a gateway whose disk is full is alive. Readiness is what `src/gateway.ts` says: 503 while it starts or
 * drains or the disk refuses writes, with the names of the checks that fail.
 */

import { monitorEventLoopDelay } from 'node:perf_hooks';
import Type from 'typebox';
import { Metrics } from './metrics.ts';
import type { AdminOptions } from './options.ts';
import { problemResponse } from './schemas.ts';
import type { App } from './validation.ts';

const DELAY_RESOLUTION_MS = 20;

const health = Type.Object({
  status: Type.String({ description: 'ok or failing.' }),
  failing: Type.Array(Type.String(), { description: 'Names of the checks that fail.' }),
  checks: Type.Optional(
    Type.Array(
      Type.Object({ name: Type.String(), ok: Type.Boolean(), detail: Type.Optional(Type.String()) }),
    ),
  ),
});

/** `verbose` alone and `verbose=true` mean the same. */
const verboseQuery = Type.Object(
  { verbose: Type.Optional(Type.Union([Type.Literal(''), Type.Literal('true'), Type.Literal('false')])) },
  { additionalProperties: false },
);

/** Adds the routes; returns what ends their measurements. */
export function addHealthRoutes(app: App, options: AdminOptions): () => void {
  const delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS });
  delay.enable();
  const metrics = new Metrics(options, delay);

  app.get(
    '/livez',
    {
      schema: {
        summary: 'Is the process alive?',
        tags: ['health'],
        security: [],
        response: { 200: health, 503: health, '4xx': problemResponse },
      },
    },
    (_request, reply) => {
      const slowest = delay.max / 1e6;
      delay.reset();
      const ok = slowest <= options.settings.loopDelayMsMax;
      const checks = [
        { name: 'event-loop', ok, detail: `delayed by at most ${Math.round(slowest)} ms since last asked` },
      ];
      reply.code(ok ? 200 : 503);
      return { status: ok ? 'ok' : 'failing', failing: ok ? [] : ['event-loop'], checks };
    },
  );

  app.get(
    '/readyz',
    {
      schema: {
        summary: 'May clients come?',
        tags: ['health'],
        security: [],
        querystring: verboseQuery,
        response: { 200: health, 503: health, '4xx': problemResponse },
      },
    },
    (request, reply) => {
      const checks = options.readiness();
      const failing = checks.filter((check) => !check.ok).map((check) => check.name);
      const { verbose } = request.query;
      reply.code(failing.length === 0 ? 200 : 503);
      return {
        status: failing.length === 0 ? 'ok' : 'failing',
        failing,
        ...(verbose === undefined || verbose === 'false'
          ? {}
          : { checks: checks.map((check) => ({ ...check })) }),
      };
    },
  );

  app.get(
    '/metrics',
    {
      schema: {
        summary: 'Metrics for Prometheus',
        tags: ['health'],
        response: {
          200: {
            description: 'Text exposition format.',
            content: { 'text/plain': { schema: Type.String() } },
          },
          '4xx': problemResponse,
        },
      },
    },
    async (_request, reply) => {
      reply.header('content-type', metrics.contentType);
      return metrics.render();
    },
  );

  return () => delay.disable();
}
