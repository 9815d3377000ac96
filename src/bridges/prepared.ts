/**
 * Definitions checked and compiled, ready to be run: a connection with its driver, and a bridge with its mappings.
 * Nothing here is stored or connected yet. Every fault is a CoreError `invalid-argument` with a pointer into the
 * definition.
 */

import { type BridgeMapping, CoreError, MANY, ONE, type Pattern } from '../core/index.ts';
import { type BridgeDirection, type BridgeDriver, LinkError } from '../outside.ts';
import { Type } from '../schema-types.ts';
import { bridgeSchema, checked, isObject, refuse } from './definitions.ts';
import type { BridgeDefinition } from './index.ts';
import type { BridgesParts, DriverPart } from './parts.ts';

export interface PreparedConnection {
  readonly name: string;
  /** As it was put, with secrets. */
  readonly definition: Readonly<Record<string, unknown>>;
  readonly driver: BridgeDriver;
  /** What the driver knows of it, defaults filled in, secrets as they were put. */
  readonly settings: unknown;
}

export interface PreparedBridge {
  readonly name: string;
  /** As it was put. */
  readonly given: Readonly<Record<string, unknown>>;
  /** With all defaults. */
  readonly definition: BridgeDefinition;
  readonly connection: PreparedConnection;
  readonly mappings: readonly BridgeMapping[];
  /** What to receive from; empty for what leads out. */
  readonly sources: readonly string[];
  /** Why nothing can be done with it; null where something can. */
  readonly fault: string | null;
}

/** Loads each driver once. */
export class Drivers {
  readonly #parts: readonly DriverPart[];
  readonly #loaded = new Map<string, Promise<BridgeDriver>>();

  constructor(parts: readonly DriverPart[]) {
    this.#parts = parts;
  }

  /** Throws CoreError `invalid-argument` at `/type`. */
  load(type: unknown): Promise<BridgeDriver> {
    const part = this.#parts.find((each) => each.type === type);
    if (part === undefined) {
      const known = this.#parts.map((each) => each.type).join(', ');
      return refuse('/type', known === '' ? 'there are no types of connections' : `must be one of ${known}`);
    }
    let loading = this.#loaded.get(part.type);
    if (loading === undefined) {
      loading = part.load();
      this.#loaded.set(part.type, loading);
      loading.catch(() => this.#loaded.delete(part.type));
    }
    return loading;
  }
}

export async function prepareConnection(
  drivers: Drivers,
  name: string,
  definition: unknown,
): Promise<PreparedConnection> {
  if (!isObject(definition))
    return refuse('', 'a connection is an object with type and what belongs to that');
  const { type, ...others } = definition;
  const driver = await drivers.load(type);
  return { name, definition, driver, settings: checked(driver.connectionSchema, others) };
}

export function prepareBridge(
  parts: Pick<BridgesParts, 'compileMapping'>,
  name: string,
  given: unknown,
  connectionOf: (name: string) => PreparedConnection | undefined,
): PreparedBridge {
  const bare = checked(bridgeSchema, given) as BridgeDefinition;
  const connection = connectionOf(bare.connection);
  if (connection === undefined) return refuse('/connection', `there is no connection ${bare.connection}`);
  const { driver } = connection;
  const { direction, delivery, retry } = bare;
  const known = driver.deliveries[direction];
  if (!known.includes(delivery))
    refuse('/delivery', `bridges of type ${driver.type} that lead ${direction} know ${known.join(', ')}`);
  if (retry.minMs > retry.maxMs) refuse('/retry/minMs', 'is longer than maxMs');
  const options = checked(driver.optionsSchema[direction], bare.options, '/options');
  const mappings = bare.mappings.map((each, index) =>
    compile(parts, each, direction, name, `/mappings/${index}`),
  );
  const sources = direction === 'in' ? sourcesOf(driver, mappings) : [];
  return {
    name,
    given: given as Readonly<Record<string, unknown>>,
    definition: { ...bare, options: options as Readonly<Record<string, unknown>> },
    connection,
    mappings,
    sources,
    fault: null,
  };
}

/**
 * A stored bridge that cannot be used as things are, because its connection is gone, say. What it would lead out is taken
 * into its buffer all the same; it connects to nothing, and its state tells `reason`. Throws where even that cannot be: the
 * mappings do not compile.
 */
export function prepareUnusable(
  parts: Pick<BridgesParts, 'compileMapping'>,
  name: string,
  given: unknown,
  reason: string,
): PreparedBridge {
  const definition = checked(bridgeSchema, given) as BridgeDefinition;
  return {
    name,
    given: given as Readonly<Record<string, unknown>>,
    definition,
    connection: absentConnection(definition.connection, reason),
    mappings: definition.mappings.map((each, index) =>
      compile(parts, each, definition.direction, name, `/mappings/${index}`),
    ),
    sources: [],
    fault: null,
  };
}

/**
 * A stored bridge that cannot even be read: nothing is known of what its mappings would take, so they take nothing. It is there to be
 * seen, and to be put again or removed; what waits in its buffer stays meanwhile.
 */
export function prepareFailed(name: string, given: unknown, fault: string): PreparedBridge {
  const definition = readableOf(given);
  return {
    name,
    given: given as Readonly<Record<string, unknown>>,
    definition,
    connection: absentConnection(definition.connection, fault),
    mappings: [],
    sources: [],
    fault,
  };
}

/** Field by field, as if all others were right. */
function readableOf(given: unknown): BridgeDefinition {
  const blank = { connection: '-', direction: 'out', mappings: [{}] };
  const readable: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(isObject(given) ? given : {})) {
    try {
      checked(bridgeSchema, { ...blank, [field]: value });
      readable[field] = value;
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
    }
  }
  const { connection = '', mappings = [] } = readable;
  const whole = checked(bridgeSchema, { ...blank, ...readable }) as BridgeDefinition;
  return { ...whole, connection, mappings } as BridgeDefinition;
}

/** To which nothing connects, because of `reason`. */
function absentConnection(name: string, reason: string): PreparedConnection {
  const nothing = Type.Object({}, { additionalProperties: true });
  const driver: BridgeDriver = {
    type: '',
    connectionSchema: nothing,
    optionsSchema: { out: nothing, in: nothing },
    deliveries: { out: [], in: [] },
    sourceFrom: () => null,
    checkSource: () => undefined,
    open: () => Promise.reject(new LinkError('no-target', reason)),
  };
  return { name, definition: {}, driver, settings: {} };
}

function compile(
  parts: Pick<BridgesParts, 'compileMapping'>,
  definition: unknown,
  direction: BridgeDirection,
  bridge: string,
  field: string,
): BridgeMapping {
  try {
    return parts.compileMapping(definition, direction, bridge);
  } catch (error) {
    if (!(error instanceof CoreError)) throw error;
    throw new CoreError(error.code, error.message, { field: field + (error.field ?? ''), cause: error });
  }
}

function sourcesOf(driver: BridgeDriver, mappings: readonly BridgeMapping[]): readonly string[] {
  const sources = new Set<string>();
  for (const [index, { source, rule }] of mappings.entries()) {
    const field = `/mappings/${index}/source`;
    const words = source ?? driver.sourceFrom(filterOf(rule.pattern));
    if (words === null)
      return refuse(
        field,
        'is missing: what to receive from cannot be told from the addresses that it takes',
      );
    try {
      driver.checkSource(words);
    } catch (error) {
      refuse(field, (error as Error).message);
    }
    sources.add(words);
  }
  return [...sources];
}

/** Everything that a pattern matches, as a topic filter: that has its many only at the end. */
function filterOf({ tokens }: Pattern): string {
  const many = tokens.indexOf(MANY);
  const levels = many < 0 ? tokens : tokens.slice(0, many + 1);
  return levels.map((token) => (token === ONE ? '+' : token === MANY ? '#' : token)).join('/');
}

/**
 * Where a stamp does not reach the other side, a bridge out and one in that meet there would send messages round for
 * ever. Throws for the first such pair of `bridge` and one of the others.
 */
export function checkCircles(bridge: PreparedBridge, others: Iterable<PreparedBridge>): void {
  const { connection, definition } = bridge;
  if (connection.driver.isStampLost?.(connection.settings) !== true) return;
  for (const other of others) {
    if (other.name === bridge.name || other.connection.name !== connection.name) continue;
    if (other.definition.direction === definition.direction) continue;
    const [out, back] = definition.direction === 'out' ? [bridge, other] : [other, bridge];
    for (const leaving of out.mappings)
      for (const coming of back.mappings) {
        if (!leaving.reach.overlaps(coming.rule.pattern) || !coming.reach.overlaps(leaving.rule.pattern))
          continue;
        const index = bridge === out ? out.mappings.indexOf(leaving) : back.mappings.indexOf(coming);
        refuse(
          `/mappings/${index}`,
          `messages would go round: ${out.name} sends ${leaving.rule.pattern} to ${leaving.reach}, and ${back.name} ` +
            `brings ${coming.rule.pattern} back to ${coming.reach}; this connection cannot mark what has been there`,
        );
      }
  }
}
