/**
 * The HTTP server of the API, once somebody has asked for more than health: takes over the listening socket and the
 * connections that `doorway.ts` has accepted, and builds the routes with the first request. Loaded by `index.ts`.
 */

import {
  createServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { Server, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { AccessCheck } from './access.ts';
import type { Health } from './health.ts';
import type { AdminOptions } from './options.ts';
import { problem, problemFromError } from './problems.ts';
import type { AdminRoutes } from './server.ts';

const PROBLEM_TYPE = 'application/problem+json';
const KEEP_ALIVE_MS = 5_000;

export class AdminServer {
  readonly #options: AdminOptions;
  readonly #access: AccessCheck;
  readonly #health: Health;
  readonly #server: HttpServer;
  #loading: Promise<AdminRoutes> | null = null;
  #routes: AdminRoutes | null = null;
  /** Those that somebody else accepted: the server does not count them as its own. */
  readonly #taken = new Set<Socket>();
  /** Told when none of them is left. */
  #whenAllLeft: (() => void) | null = null;

  constructor(options: AdminOptions, access: AccessCheck, health: Health) {
    this.#options = options;
    this.#access = access;
    this.#health = health;
    const { requestTimeoutMs, connectionsMax } = options.settings;
    this.#server = createServer(
      {
        requestTimeout: requestTimeoutMs,
        headersTimeout: requestTimeoutMs,
        keepAliveTimeout: KEEP_ALIVE_MS,
        // A request without one is refused by `access.ts`, with a problem.
        requireHostHeader: false,
      },
      (request, response) => this.#handle(request, response),
    );
    this.#server.maxConnections = connectionsMax;
    this.#server.on('clientError', answerUnreadable);
    this.#server.on('error', (error) => options.logger.warn({ err: error }, 'the HTTP API cannot accept'));
  }

  /** Accepts what comes to the socket from now on; the server that had it hears of nothing more. */
  takeOver(listening: Server): Promise<void> {
    return new Promise((resolve) => this.#server.listen(listening, resolve));
  }

  get isListening(): boolean {
    return this.#server.listening;
  }

  /** A connection that somebody else accepted. */
  take(socket: Socket): void {
    // It would never be told of the end of one that has ended.
    if (socket.destroyed) return;
    this.#taken.add(socket);
    socket.once('close', () => {
      this.#taken.delete(socket);
      if (this.#taken.size === 0) this.#whenAllLeft?.();
    });
    this.#server.emit('connection', socket);
    socket.resume();
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    if (!this.#server.listening) response.setHeader('connection', 'close');
    if (this.#routes !== null) {
      this.#routes.handle(request, response);
      return;
    }
    this.#loading ??= this.#load();
    this.#loading.then(
      (routes) => routes.handle(request, response),
      () => {
        const failure = problemFromError(null, () => undefined);
        const body = JSON.stringify(failure.toDetails(request.url ?? ''));
        response.writeHead(failure.status, { 'content-type': PROBLEM_TYPE }).end(body);
      },
    );
  }

  async #load(): Promise<AdminRoutes> {
    try {
      const { buildRoutes } = await import('./server.ts');
      this.#routes = await buildRoutes(this.#options, this.#access, this.#health);
      return this.#routes;
    } catch (error) {
      this.#options.logger.error({ err: error }, 'the HTTP API cannot serve requests');
      throw error;
    }
  }

  /** Answers under way have `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#routes?.endFeeds();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const left = new Promise<void>((resolve) => {
      if (this.#taken.size === 0) resolve();
      else this.#whenAllLeft = resolve;
    });
    const grace = setTimeout(() => {
      this.#server.closeAllConnections();
      for (const socket of this.#taken) socket.destroy();
    }, graceMs);
    await closed;
    await left;
    clearTimeout(grace);
    await this.#loading?.then((routes) => routes.stop()).catch(() => undefined);
  }
}

/** What is no HTTP, or too slow or too long for it, never becomes a request: it is answered here, and the end. */
function answerUnreadable(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const refusal =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? problem('request-timeout', 'header', '', 'the request did not arrive within http.requestTimeoutMs')
      : problem('invalid-request', 'header', '', 'this is not HTTP, or its headers are too long');
  const body = JSON.stringify(refusal.toDetails(''));
  const lines = [
    `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}`,
    'connection: close',
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
}
