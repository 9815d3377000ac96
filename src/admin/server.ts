/**
 * The routes of the HTTP API in fastify, with the OpenAPI document and the answers to everything that is no route.
 * Built by `index.ts` when the first request comes, and not before; schemas are checked by `validation.ts`, because
 * the compilers that fastify brings for them cost more than all the rest.
 */

import { Buffer } from 'node:buffer';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import swagger from '@fastify/swagger';
import fastify, { type FastifyRequest } from 'fastify';
import Type from 'typebox';
import type { AccessCheck, KnownCaller } from './access.ts';
import { addAclRoutes } from './acl-routes.ts';
import { addressParams } from './address-path.ts';
import { auditChange } from './audit.ts';
import { addBridgeRoutes } from './bridge-routes.ts';
import { addConfigurationRoutes } from './configuration-routes.ts';
import { addConnectionRoutes } from './connection-routes.ts';
import { addExchangeRoutes } from './exchange-routes.ts';
import { addExplainRoutes } from './explain-routes.ts';
import { addGroupRoutes } from './group-routes.ts';
import { HEALTH_PATHS, type Health } from './health.ts';
import { addHealthRoutes } from './health-routes.ts';
import { addImportRoutes } from './import-routes.ts';
import { parseInSlices, SLICED_FROM_BYTES } from './json-slices.ts';
import { addMappingRoutes } from './mapping-routes.ts';
import { addMessageRoutes } from './message-routes.ts';
import { addObjectRoutes } from './object-routes.ts';
import type { AdminOptions } from './options.ts';
import { takingTurns } from './preconditions.ts';
import { Problem, problem, problemFromError } from './problems.ts';
import { addQueueGroupRoutes } from './queue-group-routes.ts';
import { addQueueMessageRoutes } from './queue-message-routes.ts';
import { addQueueRoutes } from './queue-routes.ts';
import { addRecordRoutes } from './record-routes.ts';
import { credentialsShown, RefusedLogins } from './refused-logins.ts';
import { addRetainedRoutes } from './retained-routes.ts';
import { abilityFor, may, rolesWith } from './roles.ts';
import { problemResponse } from './schemas.ts';
import { addStreamRoutes } from './stream-routes.ts';
import { addUserRoutes } from './user-routes.ts';
import { type App, schemaCompilers } from './validation.ts';

/** What needs no key: it is asked by orchestrators, which hold none. */
const OPEN_ROUTES: ReadonlySet<string> = new Set(HEALTH_PATHS);
const NO_QUERY = Type.Object({}, { additionalProperties: false });
/** Characters of one decoded path segment: three for each byte of a name of 255 bytes, with room. */
const SEGMENT_MAX = 4_096;

export interface AdminRoutes {
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** Ends answers that would go on for ever. */
  endFeeds(): void;
  /** Ends what runs beside requests. */
  stop(): Promise<void>;
}

/** Ready to handle requests. */
export async function buildRoutes(
  options: AdminOptions,
  access: AccessCheck,
  health: Health,
): Promise<AdminRoutes> {
  const { settings, logger } = options;
  const app: App = fastify({
    logger: false,
    bodyLimit: settings.bodyBytesMax,
    exposeHeadRoutes: true,
    routerOptions: { maxParamLength: SEGMENT_MAX },
    schemaController: { compilersFactory: schemaCompilers },
    frameworkErrors: (error: unknown, request: { readonly url: string }, reply: ReplyLike) => {
      sendProblem(error, request, reply);
    },
  } as Parameters<typeof fastify>[0]) as unknown as App;
  app.removeContentTypeParser('text/plain');
  const parseJson = jsonParser(app);
  // In one piece as ever, but for bodies so large that messages would wait for it.
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    async (request: Parameters<typeof parseJson>[0], body: Buffer) => {
      const parse = (text: string): unknown => parseJson(request, text);
      const sliced = body.length < SLICED_FROM_BYTES ? null : await parseInSlices(body, parse);
      return sliced ?? parse(body.toString());
    },
  );
  app.addContentTypeParser('application/yaml', { parseAs: 'string' }, (_request: unknown, body: unknown) =>
    parseYaml(String(body)),
  );

  const sendProblem = (error: unknown, request: { readonly url: string }, reply: ReplyLike): unknown => {
    const found = problemFromError(error, (unexpected) =>
      logger.error({ err: unexpected }, 'HTTP request failed'),
    );
    return (
      reply
        .code(found.status)
        .headers({ ...found.headers, 'content-type': 'application/problem+json' })
        // Bytes, because fastify adds a charset to text, which this media type does not have.
        .send(Buffer.from(JSON.stringify(found.toDetails(pathOf(request.url)))))
    );
  };
  app.setErrorHandler(sendProblem);
  const callers = new WeakMap<IncomingMessage, KnownCaller>();
  const refusedLogins = new RefusedLogins(logger, options.clock);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff');
    const refusal = access.checkHost(request.headers);
    if (refusal !== null) throw refusal;
    const route = request.routeOptions.url;
    if (route !== undefined && OPEN_ROUTES.has(route)) return;
    const { remoteAddress = '', localAddress = '' } = request.socket;
    const caller = await access
      .identify(request.headers, { remoteAddress, localAddress })
      .catch((error: unknown) => {
        const shown = credentialsShown(request.headers);
        if (error instanceof Problem && error.status < 500 && shown !== null)
          refusedLogins.tell(remoteAddress, shown, error.message);
        throw error;
      });
    callers.set(request.raw, caller);
    // Before its body is read, or that could be what is wrong.
    if (route === undefined) refuseUnrouted(request);
    const needed = abilityFor(request.method, route);
    if (may(caller, needed)) return;
    const roles = rolesWith(needed).join(' or ');
    throw problem(
      'access-refused',
      'header',
      '',
      `role ${caller.role} may not do this, which needs ${roles}`,
    );
  });
  const audited = new WeakSet<IncomingMessage>();
  app.addHook('onSend', async (request, reply) => {
    const caller = callers.get(request.raw);
    // An answer that cannot be sent is followed by another, which is that of the same request.
    if (caller === undefined || audited.has(request.raw)) return;
    audited.add(request.raw);
    const tell = (): void => auditChange(logger, caller, request, reply.statusCode);
    // Whoever leaves before the answer has changed what was changed.
    if (reply.raw.closed) tell();
    else reply.raw.once('close', tell);
  });

  // Many clients send a type with everything; where there is no body, and none is expected, it says nothing.
  app.addHook('onRequest', async ({ raw, routeOptions }) => {
    if (routeOptions.schema?.body === undefined && isWithoutBody(raw.headers))
      delete raw.headers['content-type'];
  });

  const routes = new Map<string, Set<string>>();
  app.addHook('onRoute', (route) => {
    const { url, method } = route;
    // Whoever writes `dryRun` where there is none must not change what was only to be tried.
    if (!OPEN_ROUTES.has(url)) route.schema = { querystring: NO_QUERY, ...route.schema };
    const methods = routes.get(url) ?? new Set();
    for (const each of [method].flat()) methods.add(each);
    routes.set(url, methods);
  });
  const refuseUnrouted = (request: { readonly url: string }): never => {
    const path = pathOf(request.url);
    for (const [route, methods] of routes) {
      if (!isPathOf(route, path)) continue;
      const allow = [...methods].sort().join(', ');
      throw problem('method-not-allowed', 'path', '', `${path} takes ${allow}`, { allow });
    }
    throw problem('not-found', 'path', '', `there is nothing at ${path}; /openapi.json lists what is`);
  };
  app.setNotFoundHandler(refuseUnrouted);

  await app.register(swagger, {
    openapi: documentOf(options),
    transform: ({ schema, url: pattern, route }) => {
      const url = pattern.replace(/\*$/, ':address');
      const operationId = operationFrom(String(route.method), url);
      return {
        schema: {
          ...schema,
          ...(url === pattern ? {} : { params: addressParams }),
          response: { ...(schema?.response as object), '5xx': problemResponse },
          operationId,
        },
        url,
      };
    },
  });
  addUserRoutes(app, options);
  addAclRoutes(app, options);
  addMappingRoutes(app, options);
  addExplainRoutes(app, options);
  const bridgesInTurn = takingTurns();
  addConnectionRoutes(app, options, bridgesInTurn);
  addBridgeRoutes(app, options, bridgesInTurn);
  addQueueRoutes(app, options);
  addStreamRoutes(app, options);
  addRecordRoutes(app, options);
  addExchangeRoutes(app, options);
  addObjectRoutes(app, options);
  addQueueMessageRoutes(app, options);
  addQueueGroupRoutes(app, options);
  addGroupRoutes(app, options);
  addRetainedRoutes(app, options);
  addConfigurationRoutes(app, options);
  addImportRoutes(app, options);
  const endFeeds = addMessageRoutes(app, options, (request) => callers.get(request)?.principal ?? null);
  addHealthRoutes(app, options, health);
  const description = { 200: Type.Unknown({ description: 'OpenAPI 3.1.' }), '4xx': problemResponse };
  app.get(
    '/openapi.json',
    { schema: { summary: 'This description', tags: ['health'], response: description } },
    () => app.swagger(),
  );
  await app.ready();
  return {
    handle: (request, response) => app.routing(request, response),
    endFeeds,
    async stop() {
      await app.close();
    },
  };
}

/** The parser that fastify has for JSON: it refuses names such as `__proto__`. Throws. */
function jsonParser(app: App): (request: FastifyRequest, text: string) => unknown {
  const parse = app.getDefaultJsonParser('error', 'error');
  return (request, text) => {
    let parsed: unknown;
    // Calls back before it returns.
    parse.call(app, request, text, (error: Error | null, value?: unknown) => {
      if (error !== null) throw error;
      parsed = value;
    });
    return parsed;
  };
}

/** Loaded only for those who write YAML. Aliases are bounded by the parser, so that a small text stays small. */
async function parseYaml(text: string): Promise<unknown> {
  const { parse } = await import('yaml');
  try {
    return parse(text) as unknown;
  } catch (error) {
    const [sentence] = (error as Error).message.split('\n');
    throw problem('invalid-body', 'body', '', `the body is not valid YAML: ${sentence}`);
  }
}

/** `put` and `/v1/mappings/:name` are `putMappingsName`. */
function operationFrom(method: string, url: string): string {
  const words = url.split(/[^A-Za-z0-9]+/).filter((word) => word !== '' && word !== 'v1');
  return method.toLowerCase() + words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join('');
}

interface ReplyLike {
  code(status: number): ReplyLike;
  headers(values: Record<string, string>): ReplyLike;
  send(body: unknown): unknown;
}

function documentOf({ version }: AdminOptions) {
  return {
    openapi: '3.1.0',
    info: {
      title: 'RosettaMQ',
      version,
      description: 'Management API of the gateway. Errors are problem details (RFC 9457).',
    },
    components: {
      securitySchemes: {
        bearer: { type: 'http' as const, scheme: 'bearer', description: 'An API key, or a token (JWT).' },
        basic: { type: 'http' as const, scheme: 'basic', description: 'A user whose group has a role.' },
        key: { type: 'apiKey' as const, in: 'header', name: 'X-API-Key' },
      },
    },
    security: [{ bearer: [] }, { basic: [] }, { key: [] }],
  };
}

function isWithoutBody(headers: IncomingHttpHeaders): boolean {
  const { 'content-length': length = '0', 'transfer-encoding': encoding } = headers;
  return length === '0' && encoding === undefined;
}

function pathOf(url: string): string {
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}

/** Whether `path` belongs to a route such as `/v1/queues/:name` or `/v1/retained/*`. */
function isPathOf(route: string, path: string): boolean {
  const wanted = route.split('/');
  const given = path.split('/');
  if (wanted.at(-1) === '*') {
    const before = route.slice(0, -1);
    return path.startsWith(before) && path.length > before.length;
  }
  return (
    wanted.length === given.length && wanted.every((segment, at) => isSegmentOf(segment, given[at] ?? ''))
  );
}

/** `::` is a colon: `a::b`; `:name`, which is anything; `:name(^[^:]+)`, which has no colon, alone or with `::b` after it. */
function isSegmentOf(wanted: string, given: string): boolean {
  if (!wanted.startsWith(':')) return wanted.replaceAll('::', ':') === given;
  if (!wanted.includes('(')) return given !== '';
  const [name, ...after] = given.split(':');
  return name !== '' && wanted.slice(wanted.indexOf(')') + 1) === after.map((each) => `::${each}`).join('');
}
