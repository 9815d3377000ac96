/** A whole gateway in this process, on ports that the system chooses and a folder of its own. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../../src/config/index.ts';
import { type Gateway, type GatewayParts, startGateway } from '../../../src/gateway.ts';
import { configShape, gatewayParts } from '../../../src/main.ts';

export class GatewayInProcess {
  readonly folder: string;
  #gateway: Gateway | null = null;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async start(
    assignments: readonly string[] = [],
    parts: GatewayParts = gatewayParts,
  ): Promise<GatewayInProcess> {
    const inProcess = new GatewayInProcess(await mkdtemp(join(tmpdir(), 'rosettamq-admin-')));
    await inProcess.start(assignments, parts);
    return inProcess;
  }

  /** Also again, after `stop`, on what the folder holds. */
  async start(assignments: readonly string[] = [], parts: GatewayParts = gatewayParts): Promise<void> {
    const config = loadConfig(configShape, {
      environment: {},
      flags: {},
      assignments: [
        `storage.folder=${this.folder}`,
        'http.port=0',
        'mqtt.port=0',
        'mqtt.websocket.port=0',
        'amqp091.port=0',
        'kafka.port=0',
        'log.level=silent',
        ...assignments,
      ],
    });
    this.#gateway = await startGateway(parts, config);
  }

  get url(): string {
    const { host, port } = this.#gateway!.http!;
    return `http://${host}:${port}`;
  }

  port(listener: string): number {
    return this.#gateway!.listeners.get(listener)!.port;
  }

  async get(path: string): Promise<{ readonly status: number; readonly body: never }> {
    const response = await fetch(this.url + path);
    return { status: response.status, body: (await response.json()) as never };
  }

  async put(path: string, body: unknown): Promise<number> {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(this.url + path, { method: 'PUT', body: JSON.stringify(body), headers });
    await response.arrayBuffer();
    return response.status;
  }

  /** Any call; `body` is sent as JSON. What is no JSON comes back as text. */
  async call(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<{ readonly status: number; readonly headers: Headers; readonly body: never }> {
    const response = await fetch(this.url + path, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') === true;
    return {
      status: response.status,
      headers: response.headers,
      body: (isJson ? JSON.parse(text) : text) as never,
    };
  }

  stop(): Promise<void> {
    return this.#gateway?.stop() ?? Promise.resolve();
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}
