/**
 * The listening socket of the HTTP API until somebody asks for more than health. Probes come every few seconds to a gateway
 * that nobody manages, and Node.js's HTTP is a seventh of what such a gateway takes in memory: so plain probes are read
 * and answered here by hand, one to a connection. The first connection that brings anything else makes the API load, which
 * takes over the socket and that connection with what it has brought, and from then on everything. Made by `index.ts`.
 * Invariant: from its first byte to its last a connection has somebody who hears of its failures, and until it is handed
 * over or answered it has one deadline, however slowly its bytes come.
 */

import { createServer, type Server, type Socket } from 'node:net';
import { type HealthAnswer, type HealthPath, plainHealthRequest } from './health.ts';

/** A plain probe is far shorter; what is longer goes to the API. */
const HEAD_BYTES_MAX = 2_048;

export interface DoorwayOptions {
  readonly host: string;
  readonly port: number;
  readonly connectionsMax: number;
  /** Time for a request to arrive, and for the API to take it. */
  readonly requestTimeoutMs: number;
  /** Null: not to who calls this host by that name. */
  answer(path: HealthPath, isVerbose: boolean, host: string | undefined): HealthAnswer | null;
  /** Somebody asks for more: `socket` is read again from its beginning. Resolves when somebody else looks after it. */
  more(socket: Socket): Promise<void>;
}

/** Resolves when it listens; rejects with what the system says. */
export function openDoorway(options: DoorwayOptions): Promise<Server> {
  // Half open as those of an HTTP server: who has said everything still waits for the answer.
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => receive(socket, options));
  server.maxConnections = options.connectionsMax;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: options.host, port: options.port }, () => {
      server.removeListener('error', reject);
      resolve(server);
    });
  });
}

function receive(socket: Socket, options: DoorwayOptions): void {
  let head = Buffer.alloc(0);
  const end = (): void => {
    socket.destroy();
  };
  const deadline = setTimeout(end, options.requestTimeoutMs);
  const release = (): void => clearTimeout(deadline);
  const take = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk]);
    const text = head.toString('latin1');
    const isWhole = text.endsWith('\r\n\r\n');
    // It may still become one.
    if (!isWhole && head.length < HEAD_BYTES_MAX && mayBeProbe(text)) return;
    const answered = isWhole ? answerOf(text, options) : null;
    socket.off('data', take);
    if (answered !== null) {
      socket.off('end', end);
      socket.end(answered);
      socket.resume();
      return;
    }
    socket.off('end', end);
    socket.pause();
    socket.unshift(head);
    options.more(socket).then(release, end);
  };
  // For good: whoever gets it may not be there yet when the client breaks it off.
  socket.on('error', ignore);
  socket.once('close', release);
  socket.on('end', end);
  socket.on('data', take);
}

/** A socket that fails is closed next, which is what counts. */
function ignore(): void {}

const PROBE = /^(?:GET|HEAD) \/(?:livez|readyz|startupz|healthz)[ ?]/;

function mayBeProbe(text: string): boolean {
  const start = text.slice(0, 16);
  return PROBE.test(start) || /^(?:G|GE|GET|H|HE|HEA|HEAD)$/.test(start) || isBeginOfProbe(start);
}

function isBeginOfProbe(start: string): boolean {
  return ['GET', 'HEAD'].some((method) =>
    ['livez', 'readyz', 'startupz', 'healthz'].some((path) => `${method} /${path} `.startsWith(start)),
  );
}

/** Null where it is no plain probe: with a body, with more than one request, or anything that HTTP would refuse. */
function answerOf(text: string, options: DoorwayOptions): string | null {
  const [requestLine = '', ...lines] = text.slice(0, -4).split('\r\n');
  const [, method, url] = /^(GET|HEAD) (\/\S*) HTTP\/1\.[01]$/.exec(requestLine) ?? [];
  const asked = plainHealthRequest(method, url);
  if (asked === null) return null;
  const headers = lines.map((line) => /^([A-Za-z0-9-]+):[ \t]*([\x20-\x7e]*?)[ \t]*$/.exec(line));
  const valuesOf = (name: string): (string | undefined)[] =>
    headers.filter((header) => header?.[1]?.toLowerCase() === name).map((header) => header?.[2]);
  const isPlain = headers.every((header) => header !== null);
  const bodies = [...valuesOf('content-length'), ...valuesOf('transfer-encoding'), ...valuesOf('expect')];
  const hosts = valuesOf('host');
  if (!isPlain || bodies.length > 0 || hosts.length > 1) return null;
  const answer = options.answer(asked.path, asked.isVerbose, hosts[0]);
  if (answer === null) return null;
  const body = JSON.stringify(answer.body);
  return [
    `HTTP/1.1 ${answer.code} ${answer.code === 200 ? 'OK' : 'Service Unavailable'}`,
    'cache-control: no-store',
    'x-content-type-options: nosniff',
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    `date: ${new Date().toUTCString()}`,
    'connection: close',
    '',
    method === 'HEAD' ? '' : body,
  ].join('\r\n');
}
