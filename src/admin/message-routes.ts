/**
 * Messages over HTTP: publish one and be told when it is stored; subscribe and get what comes as server-sent events.
 * Whoever has the role for it may do so everywhere: rules of access are for clients of the protocols.
 */

import type { IncomingMessage } from 'node:http';
import Type from 'typebox';
import {
  type Core,
  CoreError,
  type Message,
  NO_ROUTE,
  OPERATOR,
  type Pattern,
  PENDING,
  type Principal,
  type Publisher,
  type Timer,
} from '../core/index.ts';
import { ADDRESS_POINTER, addressFromPath } from './address-path.ts';
import { MessageFeed } from './message-feed.ts';
import { messageFields } from './message-schema.ts';
import type { AdminOptions } from './options.ts';
import { problem, problemFromCore } from './problems.ts';
import { problemResponse } from './schemas.ts';
import type { App } from './validation.ts';

/** First levels that are the gateway's own, or mean something to clients of a protocol alone. */
const ROOTS_NOT_TO_PUBLISH: ReadonlySet<string> = new Set([
  '$SYS',
  '$CONTROL',
  '$share',
  '$stream',
  '$s',
  '$delayed',
  '$q',
]);
const ROOTS_NOT_TO_SUBSCRIBE: ReadonlySet<string> = new Set(['$share', '$stream', '$s', '$delayed', '$q']);
/** Below a queue: how a client settles what it holds. */
const SETTLING = /^\$queue\/.*\/\$(ack|nack|reject)$/;

const feedQuery = Type.Object(
  {
    retained: Type.Boolean({ default: true, description: 'Begin with what the addresses remember.' }),
    count: Type.Optional(Type.Integer({ minimum: 1, description: 'End after so many messages.' })),
  },
  { additionalProperties: false },
);

const receipt = Type.Object({
  address: Type.String(),
  routed: Type.Boolean({ description: 'Somebody or something took it.' }),
});

/** Returns what ends every feed and gives the publisher back. */
export function addMessageRoutes(
  app: App,
  options: AdminOptions,
  principalOf: (request: IncomingMessage) => Principal | null,
): () => void {
  const { core, clock, settings } = options;
  const outgoing = new Outgoing(core);
  const feeds = new Set<MessageFeed>();
  // What a proof that has ended let in ends too, as clients of the protocols do.
  const principals = new Map<MessageFeed, { readonly principal: Principal; readonly end: Timer | null }>();
  options.authenticator.onChange(() => {
    for (const [feed, { principal }] of [...principals])
      if (!options.authenticator.isCurrent(principal)) feed.end();
  });
  const endWith = (feed: MessageFeed, principal: Principal): void => {
    const { expiresAtMs } = principal;
    const leftMs = (expiresAtMs ?? 0) - clock.nowMs();
    const end = expiresAtMs === undefined ? null : clock.after(Math.max(0, leftMs), () => feed.end());
    principals.set(feed, { principal, end });
  };
  let opening = 0;

  app.post(
    '/v1/messages/*',
    {
      schema: {
        summary: 'Publish a message',
        description:
          'Answers when it is stored, unless `reliability` is 0. `properties.contentType` is its content type.',
        consumes: ['application/json', 'application/yaml'],
        tags: ['messages'],
        body: Type.Object(
          {
            ...messageFields,
            reliability: Type.Union([Type.Literal(0), Type.Literal(1), Type.Literal(2)], {
              default: 1,
              description: '0 at most once, 1 at least once and stored, 2 exactly once and stored.',
            }),
          },
          { additionalProperties: false },
        ),
        response: { 200: receipt, '4xx': problemResponse },
      },
    },
    async (request) => {
      const address = addressFromPath(request);
      refuseRoot(address, ROOTS_NOT_TO_PUBLISH);
      if (SETTLING.test(address)) {
        throw problem(
          'invalid-request',
          'path',
          ADDRESS_POINTER,
          'messages are settled by clients, not here',
        );
      }
      if (address.split('/').some((level) => level === '+' || level === '#')) {
        throw problem(
          'invalid-request',
          'path',
          ADDRESS_POINTER,
          'a message is published to one address, without + and #',
        );
      }
      try {
        const message = options.messageFromJson(request.body, address, clock.nowMs());
        return { address, routed: await outgoing.publish(message) };
      } catch (error) {
        throw error instanceof CoreError ? problemFromRefusal(error) : error;
      }
    },
  );

  app.get(
    '/v1/messages/*',
    {
      // An answer to HEAD would never end.
      exposeHeadRoute: false,
      schema: {
        summary: 'Subscribe to messages',
        description:
          'Server-sent events, each with one message as JSON. The path is a filter, with + for one level and # for ' +
          'many, percent-encoded: %23 is #.',
        tags: ['messages'],
        querystring: feedQuery,
        produces: ['text/event-stream'],
        response: {
          200: {
            description: 'Messages, for as long as both sides like.',
            content: { 'text/event-stream': { schema: Type.String() } },
          },
          '4xx': problemResponse,
        },
      },
    },
    async (request, reply) => {
      const filter = addressFromPath(request);
      refuseRoot(filter, ROOTS_NOT_TO_SUBSCRIBE);
      const pattern = patternOf(options, filter);
      if (feeds.size + opening >= settings.subscribersMax) {
        throw problem('limit-reached', 'path', '', `${feeds.size} subscribers already (http.subscribersMax)`);
      }
      opening++;
      try {
        const feed: MessageFeed = await MessageFeed.open(core, clock, reply.raw, {
          pattern,
          retained: request.query.retained,
          messagesMax: request.query.count ?? Number.POSITIVE_INFINITY,
          jsonFromMessage: options.jsonFromMessage,
          ended: () => {
            feeds.delete(feed);
            principals.get(feed)?.end?.cancel();
            principals.delete(feed);
          },
        });
        feeds.add(feed);
        reply.hijack();
        if (reply.raw.destroyed) feed.end();
        else feed.start();
        const principal = principalOf(request.raw);
        if (principal !== null && feeds.has(feed)) endWith(feed, principal);
      } catch (error) {
        throw error instanceof CoreError ? problemFromRefusal(error) : error;
      } finally {
        opening--;
      }
    },
  );

  return () => {
    for (const feed of [...feeds]) feed.end();
    outgoing.close();
  };
}

function refuseRoot(path: string, roots: ReadonlySet<string>): void {
  const root = path.split('/', 1)[0] as string;
  if (roots.has(root)) throw problem('invalid-request', 'path', ADDRESS_POINTER, `${root} is not for this`);
}

function patternOf(options: AdminOptions, filter: string): Pattern {
  try {
    return options.patternFromFilter(filter);
  } catch (error) {
    throw error instanceof CoreError ? problemFromRefusal(error) : error;
  }
}

/** The name is in the path, everything else that can be wrong in the body. */
function problemFromRefusal(error: CoreError): ReturnType<typeof problem> {
  return error.code === 'invalid-name'
    ? problemFromCore(error, 'path', ADDRESS_POINTER)
    : problemFromCore(error);
}

/** Publishes for every request, and finds the request that a receipt belongs to. */
class Outgoing {
  readonly #core: Core;
  #publisher: Publisher | null = null;
  readonly #waiting = new Map<number, { stored(): void; refused(error: CoreError): void }>();
  #nextToken = 1;
  #isCongested = false;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Resolves with whether it reached anything, once that is stored. Throws CoreError where it is refused. */
  publish(message: Message): Promise<boolean> {
    if (this.#isCongested) {
      throw problem('unavailable', 'path', '', 'the gateway is short of room, try again', {
        'retry-after': '1',
      });
    }
    const token = this.#nextToken++;
    this.#publisher ??= this.#core.openPublisher({
      principal: OPERATOR,
      providesQueues: true,
      congested: (yes) => {
        this.#isCongested = yes;
      },
    });
    const result = this.#publisher.publish(message, this.#sink, token);
    if (result !== PENDING) return Promise.resolve(result !== NO_ROUTE);
    return new Promise((resolve, reject) => {
      this.#waiting.set(token, { stored: () => resolve(true), refused: reject });
    });
  }

  close(): void {
    this.#publisher?.close();
  }

  readonly #sink = {
    stored: (token: number): void => this.#take(token)?.stored(),
    refused: (token: number, error: CoreError): void => this.#take(token)?.refused(error),
  };

  #take(token: number): { stored(): void; refused(error: CoreError): void } | undefined {
    const waiting = this.#waiting.get(token);
    this.#waiting.delete(token);
    return waiting;
  }
}
