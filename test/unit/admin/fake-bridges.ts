/**
 * Bridges without any outside: definitions in maps, a probe that says what the test wants. Its secrets are the fields named
 * `password`, which it keeps and shows as `{kept: true}`, as the real ones do.
 */

import type {
  BridgeDefinition,
  BridgeState,
  Bridges,
  BridgeView,
  ConnectionView,
  DefinitionOrigin,
  ProbeResult,
  PutResult,
} from '../../../src/bridges/index.ts';
import { CoreError, newMappingCounters } from '../../../src/core/index.ts';

type Fields = Readonly<Record<string, unknown>>;

interface FakeBridge {
  definition: BridgeDefinition;
  state: BridgeState;
  origin: DefinitionOrigin;
}

export class FakeBridges implements Bridges {
  readonly stored = new Map<string, { definition: Fields; origin: DefinitionOrigin }>();
  readonly bridges = new Map<string, FakeBridge>();
  /** Names of what was tried, reset, and so on, in their order. */
  readonly calls: string[] = [];
  result: ProbeResult = { ok: true, failure: null, detail: 'a broker', milliseconds: 12 };
  /** Resolves probes; set by tests that want one to take long. */
  untilProbed: Promise<void> = Promise.resolve();

  readonly connections: Bridges['connections'] = {
    list: () => [...this.stored.keys()].map((name) => this.#viewOf(name)!),
    get: (name) => this.#viewOf(name),
    put: async (name, definition, { dryRun }) => {
      const fields = fieldsOf(definition);
      if (fields.type !== 'fake') refuse('there is no such type: fake', '/type');
      const created = !this.stored.has(name);
      if (dryRun) return this.#tried(created, name);
      this.stored.set(name, { definition: fields, origin: 'stored' });
      return { created };
    },
    remove: async (name, options) => {
      const users = this.#usersOf(name);
      if (users.length > 0) throw new CoreError('in-use', `bridges use the connection: ${users.join(', ')}`);
      if (options?.dryRun !== true) this.stored.delete(name);
    },
    probe: (name) => this.#probe(name),
  };

  list(): BridgeView[] {
    return [...this.bridges.keys()].map((name) => this.get(name)!);
  }

  get(name: string): BridgeView | undefined {
    const bridge = this.bridges.get(name);
    if (bridge === undefined) return undefined;
    const { definition, origin, state } = bridge;
    const disconnected = state === 'disconnected';
    return {
      name,
      origin,
      definition,
      status: {
        state,
        sinceMs: 1_700_000_000_000,
        reason: disconnected ? 'connect ECONNREFUSED' : '',
        failure: disconnected ? 'unreachable' : null,
        retryAtMs: disconnected ? 1_700_000_005_000 : null,
        attempts: disconnected ? 3 : 0,
        errors: disconnected ? [{ timeMs: 1_700_000_000_000, text: 'connect ECONNREFUSED' }] : [],
        lag: { messages: 7, bytes: 700, seconds: 2.4 },
        counters: {
          taken: 22,
          done: 10,
          doneBytes: 1_000,
          repeated: 1,
          deadLettered: 1,
          refused: 0,
          dropped: { overflow: 3, expired: 1, loop: 0, unmapped: 0, mapping: 0, lost: 0 },
        },
      },
      mappings: definition.mappings.map(() => newMappingCounters()),
    };
  }

  async put(name: string, given: unknown, { dryRun }: { dryRun: boolean }): Promise<PutResult> {
    const fields = fieldsOf(given);
    const { connection, direction, mappings = [] } = fields as Partial<BridgeDefinition>;
    if (!this.stored.has(String(connection))) refuse(`there is no connection ${connection}`, '/connection');
    if (direction !== 'out' && direction !== 'in') refuse('must be out or in', '/direction');
    const created = !this.bridges.has(name);
    if (dryRun) return this.#tried(created, name);
    this.bridges.set(name, {
      definition: { ...DEFAULTS, ...fields, mappings } as BridgeDefinition,
      state: 'connected',
      origin: 'stored',
    });
    return { created };
  }

  async remove(name: string, options?: { readonly dryRun: boolean }): Promise<void> {
    if (options?.dryRun !== true) this.bridges.delete(name);
  }

  probe(name: string): Promise<ProbeResult> {
    return this.#probe(name);
  }

  async pause(name: string): Promise<void> {
    this.bridges.get(name)!.state = 'paused';
  }

  async resume(name: string): Promise<void> {
    this.bridges.get(name)!.state = 'connecting';
  }

  async reset(name: string): Promise<number> {
    this.calls.push(`reset ${name}`);
    return 7;
  }

  async #probe(name: string): Promise<ProbeResult> {
    this.calls.push(`probe ${name}`);
    await this.untilProbed;
    return this.result;
  }

  async #tried(created: boolean, name: string): Promise<PutResult> {
    return { created, probe: await this.#probe(name) };
  }

  #usersOf(connection: string): string[] {
    return [...this.bridges]
      .filter(([, { definition }]) => definition.connection === connection)
      .map(([name]) => name);
  }

  #viewOf(name: string): ConnectionView | undefined {
    const found = this.stored.get(name);
    if (found === undefined) return undefined;
    const { password, ...others } = found.definition;
    const definition = password === undefined ? others : { ...others, password: { kept: true } };
    return { name, origin: found.origin, definition, bridges: this.#usersOf(name) };
  }
}

const DEFAULTS: Omit<BridgeDefinition, 'connection' | 'direction' | 'mappings'> = {
  delivery: 'at-least-once',
  paused: false,
  required: false,
  buffer: { bytesMax: 1_000, messagesMax: 10, overflow: 'block' },
  batch: { messagesMax: 5, bytesMax: 100 },
  inFlightMax: 5,
  retry: { minMs: 1, maxMs: 2 },
  options: {},
};

function fieldsOf(definition: unknown): Fields {
  if (typeof definition !== 'object' || definition === null) refuse('must be an object', '');
  return definition as Fields;
}

function refuse(text: string, field: string): never {
  throw new CoreError('invalid-argument', text, { field });
}
