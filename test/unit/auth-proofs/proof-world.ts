/** Settings at their defaults, a connection to be checked and small services on loopback, for tests of proofs. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TSchema } from 'typebox';
import { Default } from 'typebox/value';
import type { ClientCertificate, ConnectionOrigin, Credentials, Logger } from '../../../src/host.ts';

export function settingsOf<Settings>(schema: TSchema, changes: Partial<Settings>): Settings {
  return Default(schema, { ...changes }) as Settings;
}

export function originWith(changes: Partial<ConnectionOrigin> = {}): ConnectionOrigin {
  return {
    listener: 'any',
    remoteAddress: '192.0.2.7',
    localAddress: '192.0.2.1',
    certificate: null,
    clientId: 'client-1',
    ...changes,
  };
}

export function certificateOf(changes: Partial<ClientCertificate> = {}): ClientCertificate {
  return { commonName: 'sensor-7', alternativeNames: [], fingerprint: 'ab'.repeat(32), ...changes };
}

export function passwordOf(user: string, password: string | Uint8Array): Credentials {
  return { kind: 'password', user, password: Buffer.from(password) };
}

/** Everything that was logged, as text. */
export class LogLines implements Logger {
  readonly lines: string[] = [];
  readonly #note = (details: object, text: string): void => {
    this.lines.push(
      `${text} ${JSON.stringify(details, (_, value: unknown) => (value instanceof Error ? describe(value) : value))}`,
    );
  };
  debug = this.#note;
  info = this.#note;
  warn = this.#note;
  error = this.#note;
}

function describe(error: Error): string {
  return error.cause instanceof Error ? `${error.message}: ${describe(error.cause)}` : error.message;
}

export interface Service {
  readonly url: string;
  readonly requests: { readonly headers: IncomingMessage['headers']; readonly body: string }[];
  stop(): Promise<void>;
}

/** Answers as `answer` says, which is called when the whole request is there. */
export async function startService(
  answer: (response: ServerResponse, body: string) => void,
): Promise<Service> {
  const requests: Service['requests'] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    requests.push({ headers: request.headers, body });
    answer(response, body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/ask`,
    requests,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function answerJson(
  response: ServerResponse,
  value: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
}
