/**
 * `/livez`, `/readyz`, `/startupz` and `/metrics`, for orchestrators and Prometheus. What the first three say is
 * `health.ts`.
 */

import Type from 'typebox';
import { HEALTH_PATHS, type Health, type HealthPath } from './health.ts';
import { Metrics } from './metrics.ts';
import type { AdminOptions } from './options.ts';
import { problemResponse } from './schemas.ts';
import type { App } from './validation.ts';

const SUMMARIES: Readonly<Record<HealthPath, string>> = {
  '/livez': 'Is the process alive?',
  '/healthz': 'Is the process alive? Another name of /livez',
  '/readyz': 'May clients come?',
  '/startupz': 'Has it started?',
};

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

export function addHealthRoutes(app: App, options: AdminOptions, measured: Health): void {
  const metrics = new Metrics(options, measured.delay);

  for (const path of HEALTH_PATHS) {
    app.get(
      path,
      {
        schema: {
          summary: SUMMARIES[path],
          tags: ['health'],
          security: [],
          ...(path === '/readyz' ? { querystring: verboseQuery } : {}),
          response: { 200: health, 503: health, '4xx': problemResponse },
        },
      },
      (request, reply) => {
        const { verbose } = request.query as { readonly verbose?: string };
        const { code, body } = measured.answer(path, verbose !== undefined && verbose !== 'false');
        reply.code(code);
        return body;
      },
    );
  }

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
}
