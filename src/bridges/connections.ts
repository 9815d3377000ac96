/** Connections to outside brokers by name: those of the configuration, and those that were put. */

import { CoreError } from '../core/index.ts';
import { checkName, isObject } from './definitions.ts';
import type { ConnectionView, DefinitionOrigin } from './index.ts';
import { type Drivers, type PreparedConnection, prepareConnection } from './prepared.ts';
import { masked, restored } from './secrets.ts';

export interface KnownConnection {
  readonly origin: DefinitionOrigin;
  readonly prepared: PreparedConnection;
}

export class Connections {
  readonly #drivers: Drivers;
  readonly #max: number;
  readonly #known = new Map<string, KnownConnection>();

  constructor(drivers: Drivers, max: number) {
    this.#drivers = drivers;
    this.#max = max;
  }

  get(name: string): KnownConnection | undefined {
    return this.#known.get(name);
  }

  names(): readonly string[] {
    return [...this.#known.keys()].sort();
  }

  /** Throws CoreError where it is not there or is the configuration's. */
  stored(name: string): PreparedConnection {
    const known = this.#known.get(name);
    if (known === undefined) throw new CoreError('not-found', `there is no connection ${name}`);
    refuseConfigured('connection', name, known.origin);
    return known.prepared;
  }

  view(name: string, bridges: readonly string[]): ConnectionView | undefined {
    const known = this.#known.get(name);
    if (known === undefined) return undefined;
    const { definition, driver } = known.prepared;
    const shown = masked(driver.connectionSchema, definition) as Readonly<Record<string, unknown>>;
    return { name, origin: known.origin, definition: shown, bridges };
  }

  /** Checks what is to be put; nothing is kept of it yet. */
  async prepare(name: string, definition: unknown): Promise<PreparedConnection> {
    checkName('connection', name);
    const before = this.#known.get(name);
    if (before !== undefined) refuseConfigured('connection', name, before.origin);
    else if (this.#known.size >= this.#max)
      throw new CoreError('limit-reached', `more than ${this.#max} connections (outsideConnectionsMax)`);
    let whole = definition;
    if (isObject(definition)) {
      const { connectionSchema } = await this.#drivers.load(definition.type);
      const isSameType = before?.prepared.definition.type === definition.type;
      whole = restored(connectionSchema, definition, isSameType ? before?.prepared.definition : undefined);
    }
    return prepareConnection(this.#drivers, name, whole);
  }

  /** For what was checked. */
  set(prepared: PreparedConnection, origin: DefinitionOrigin): void {
    this.#known.set(prepared.name, { origin, prepared });
  }

  delete(name: string): void {
    this.#known.delete(name);
  }
}

export function refuseConfigured(what: string, name: string, origin: DefinitionOrigin): void {
  if (origin === 'configuration')
    throw new CoreError('in-use', `${what} ${name} is defined in the configuration, and is changed there`);
}
