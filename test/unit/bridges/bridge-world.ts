/** Bridges over a driver that the test plays, on a real core with a storage in memory and a clock turned by hand. */

import { compileRule } from '../../../mappings/rules.ts';
import { compileBridgeMapping } from '../../../mappings/rules-bridge.ts';
import type { BridgeView } from '../../../src/bridges/index.ts';
import type { BridgesParts } from '../../../src/bridges/parts.ts';
import { type BridgeRegistry, openBridges } from '../../../src/bridges/registry.ts';
import {
  ANONYMOUS,
  type CoreOptions,
  type Header,
  type Limits,
  Message,
  type MessageFields,
  type ReceiptSink,
} from '../../../src/core/index.ts';
import type { Logger } from '../../../src/host.ts';
import { openTestCore, type TestClock } from '../../support/core.ts';
import { FakeOutside } from '../../support/fake-driver.ts';
import { MemoryStorage } from '../../support/memory-storage.ts';

export const GATEWAY_ID = '0123456789abcdef0123456789abcdef';

export interface WorldOptions {
  readonly storage?: MemoryStorage;
  readonly outside?: FakeOutside;
  readonly configured?: Partial<BridgesParts['configured']>;
  readonly limits?: Partial<BridgesParts['limits']>;
  readonly core?: Partial<CoreOptions>;
  readonly coreLimits?: Partial<Limits>;
  readonly nowMs?: number;
  readonly random?: () => number;
  readonly environment?: Readonly<Record<string, string>>;
}

export interface LogLine {
  readonly level: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly text: string;
}

export async function openWorld(options: WorldOptions = {}) {
  const storage = options.storage ?? new MemoryStorage();
  const outside = options.outside ?? new FakeOutside();
  const lines: LogLine[] = [];
  const log = (level: string) => (details: object, text: string) =>
    void lines.push({ level, details: details as LogLine['details'], text });
  const logger: Logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
  let loads = 0;
  let clock: TestClock | null = null;
  const later = {
    nowMs: () => (clock as TestClock).nowMs(),
    after: (ms: number, task: () => void) => (clock as TestClock).after(ms, task),
    afterTurn: (task: () => void) => (clock as TestClock).afterTurn(task),
    afterNextTurn: (task: () => void) => (clock as TestClock).afterNextTurn(task),
  };
  const bridges: BridgeRegistry = await openBridges({
    storage,
    clock: later,
    logger,
    gatewayId: GATEWAY_ID,
    drivers: [
      {
        type: 'fake',
        load: async () => {
          loads++;
          return outside;
        },
      },
    ],
    compileMapping: compileBridgeMapping,
    configured: { connections: {}, bridges: {}, ...options.configured },
    limits: { bridgesMax: 10, outsideConnectionsMax: 10, ...options.limits },
    environment: options.environment ?? {},
    random: options.random ?? (() => 0.5),
    newId: () => 'id',
  });
  const opened = await openTestCore({
    storage,
    ...(options.nowMs === undefined ? {} : { nowMs: options.nowMs }),
    ...(options.coreLimits === undefined ? {} : { limits: options.coreLimits }),
    core: { compileRule, ...options.core },
  });
  const { core } = opened;
  clock = opened.clock;
  bridges.attach(core);
  bridges.start();
  const turn = () => opened.clock.turn();
  await turn();
  const publisher = core.openPublisher({ principal: ANONYMOUS, congested: () => undefined });
  const publish = (
    address: string,
    body: string | Uint8Array = 'x',
    fields: Partial<MessageFields> & { readonly headers?: readonly Header[] } = {},
    sink: ReceiptSink | null = null,
    token = 0,
  ) => {
    const { headers, ...others } = fields;
    return publisher.publish(
      new Message({
        address,
        body: Buffer.from(body),
        reliability: 1,
        timestampMs: opened.clock.nowMs(),
        ...(headers === undefined ? {} : { properties: { headers } }),
        ...others,
      }),
      sink,
      token,
    );
  };
  const view = (name = 'b'): BridgeView => {
    const found = bridges.get(name);
    if (found === undefined) throw new Error(`there is no bridge ${name}`);
    return found;
  };
  return {
    ...opened,
    bridges,
    outside,
    lines,
    publish,
    view,
    turn,
    loads: () => loads,
    /** With what waits on the disk, as a restart finds it. */
    async close() {
      await bridges.stop(0);
      await core.close();
    },
    put: async (definition: Record<string, unknown> = {}, name = 'b') => {
      if (bridges.connections.get('c') === undefined)
        await bridges.connections.put('c', { type: 'fake' }, { dryRun: false });
      const result = await bridges.put(
        name,
        { connection: 'c', direction: 'out', mappings: [{ match: 'a/{rest...}' }], ...definition },
        { dryRun: false },
      );
      await turn();
      return result;
    },
  };
}

export type World = Awaited<ReturnType<typeof openWorld>>;

/** The numbers of a bridge hold what they promise. */
export function sumOf({ status }: BridgeView): { readonly taken: number; readonly accounted: number } {
  const { counters, lag } = status;
  const dropped = Object.values(counters.dropped).reduce((sum, each) => sum + each, 0);
  return {
    taken: counters.taken,
    accounted: counters.done + counters.deadLettered + counters.refused + dropped + lag.messages,
  };
}

export async function waitFor(world: Pick<World, 'turn'>, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (condition()) return;
    await world.turn();
  }
  throw new Error('what was waited for did not happen');
}
