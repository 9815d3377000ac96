/**
 * Puts the core together from its parts, in the order in which they need each other, and takes it apart again.
 * Called once by the gateway; adapters only see the interfaces of `index.ts`.
 */

import { Congestion } from './congestion.ts';
import { CursorTable } from './cursors.ts';
import { Durability } from './durability.ts';
import { CoreError } from './errors.ts';
import { ExchangeRegistry } from './exchanges.ts';
import type { GroupContext } from './group-context.ts';
import type { Core, CoreCounters, CoreOptions, Match } from './index.ts';
import { LogTurns } from './log-turns.ts';
import { MappingRuleTable } from './mapping-rules.ts';
import { MappingRunner } from './mapping-runner.ts';
import type { Message } from './message.ts';
import { MessageFormat } from './message-format.ts';
import { OutletTable } from './outlets.ts';
import { Publishing } from './publish.ts';
import { QueueRegistry } from './queues.ts';
import { ReplyTokens } from './replies.ts';
import { RetainedStore } from './retained.ts';
import { type Destination, FULL, IGNORED, Router, WRITTEN } from './router.ts';
import { StoredSchedule } from './schedule.ts';
import { SessionRegistry } from './sessions.ts';
import { DEFAULT_STREAM_LOG, StreamRegistry } from './streams.ts';
import { tellOfDrops } from './told-drops.ts';

/** Opens what the storage holds and is ready to publish when it resolves. */
export async function createCore(options: CoreOptions): Promise<Core> {
  const { storage, clock, limits, access } = options;
  const counters = newCounters();
  const durability = new Durability(storage, clock, counters);
  const congestion = new Congestion(limits.heldBytesMax);
  const router = new Router(limits.routeCacheEntriesMax, limits);
  const format = new MessageFormat(options.codecs);
  const readFailed = (error: unknown) =>
    options.report({ level: 'error', text: 'a log could not be read', details: { error: String(error) } });
  const droppedFor = tellOfDrops(clock, options.report);
  const weighing = new LogTurns();
  const context: GroupContext = {
    clock,
    durability,
    congestion,
    format,
    counters,
    weighing,
    readFailed,
    droppedFor,
  };

  const retained = await RetainedStore.load({ storage, durability, format, clock, limits, readFailed });
  const replies = new ReplyTokens({
    clock,
    limits,
    access,
    counters,
    randomBytes: options.randomBytes,
    seal: options.sealReply ?? null,
  });
  const mappings = new MappingRunner({
    clock,
    limits,
    counters,
    randomBytes: options.randomBytes,
    stream: (name) => streams.get(name),
    queue: (name) => queues.get(name) ?? queues.provide(name),
    outlet: (name) => outlets.get(name),
  });
  const publishing = new Publishing({
    mappings,
    router,
    durability,
    congestion,
    retained,
    access,
    limits,
    clock,
    counters,
    replies,
    missingQueueAt: (address) => queues.missingAt(address),
    provideQueue: (name) => queues.provide(name),
  });
  const queues: QueueRegistry = await QueueRegistry.load({
    context,
    router,
    storage,
    limits,
    publishLater: (message) => publishing.publishLater(message),
  });
  const outlets = new OutletTable({ queues, router, runner: mappings, counters });
  const exchanges = await ExchangeRegistry.load({ router, queues, storage, durability, limits });
  const sessions = await SessionRegistry.load({ context, router, storage, limits });
  const cursors = new CursorTable({ storage, durability, limits });
  const streams = new StreamRegistry({
    storage,
    durability,
    clock,
    limits,
    router,
    counters,
    records: options.records,
    addressFromStream: options.addressFromStream,
    crc32c: options.crc32c,
    decompress: options.decompress,
    randomBytes: options.randomBytes,
    report: options.report,
    cursors,
    publishRecord: (message: Message, except: Destination) =>
      publishRecord(publishing, mappings, counters, message, except),
  });
  const rules = new MappingRuleTable({
    storage,
    durability,
    limits,
    router,
    streams,
    compileRule: options.compileRule,
    addressFromStream: options.addressFromStream,
    report: options.report,
    clock,
    runner: mappings,
    provideQueue: (name) => void (queues.get(name) ?? queues.provide(name)),
    isBridge: (name) => outlets.isKnown(name),
    streamLog: options.streamLog ?? DEFAULT_STREAM_LOG,
  });
  const schedule = await StoredSchedule.load({
    storage,
    durability,
    format,
    clock,
    limits,
    access,
    counters,
    publish: (message) => {
      const missing = queues.missingAt(message.address);
      if (missing !== null) queues.provide(missing);
      publishing.publish(message, null, null, 0);
    },
    provideQueue: (address, principal) => publishing.provideQueue(address, principal),
    readFailed,
  });
  await cursors.load();
  await streams.load();
  await rules.load();
  schedule.start();

  // No getters: V8 keeps an object literal that has one as a hash table, and adapters look into this for each message.
  return {
    clock,
    limits,
    access,
    queues,
    exchanges,
    sessions,
    retained,
    streams,
    cursors,
    rules,
    schedule,
    replies,
    outlets,
    counters,
    storageRefusal: () => durability.refusal,
    openPublisher: (info) => publishing.openPublisher(info),
    announce: (message) => {
      mappings.principal = null;
      const said = publishing.route(message, null);
      if (said >= FULL) mappings.refused(false);
      return said === IGNORED ? 'unwanted' : said >= FULL ? 'refused' : 'taken';
    },
    whenStored: (done) => durability.whenStored(done),
    explain: (address) => explain(router, retained, address),
    close: async () => {
      schedule.stop();
      replies.close();
      await streams.close();
      // Who weighs a log may wait for a session that moves it elsewhere.
      await Promise.all([weighing.close(), sessions.close()]);
      await new Promise<void>((resolve) => durability.whenStored(() => resolve()));
    },
  };
}

/** A record stands in its stream already, so nothing that another destination refuses can refuse it. */
function publishRecord(
  publishing: Publishing,
  mappings: MappingRunner,
  counters: CoreCounters,
  message: Message,
  except: Destination,
): boolean {
  mappings.principal = null;
  mappings.origin = except;
  try {
    const said = publishing.route(message, except);
    // A queue that refuses goes without it: the producer's record is taken, and must not be sent again.
    if (said >= FULL) {
      counters.dropped++;
      mappings.refused(true);
    }
    // What is full or refuses does so for itself.
    return said >= WRITTEN;
  } catch (error) {
    if (!(error instanceof CoreError)) throw error;
    mappings.refused(true);
    counters.refused++;
    return false;
  } finally {
    mappings.origin = null;
  }
}

function explain(router: Router, retained: RetainedStore, address: string): Match[] {
  const matches: Match[] = [];
  for (const { destination, bindings } of router.routes(address).routes) {
    const kind = destination.kind as Match['kind'];
    // All mappings are one destination, but each has its name, and those of bridges are their bridges'.
    if (destination instanceof MappingRunner) {
      for (const { name, rule, family } of destination.explain(bindings))
        matches.push({ kind: family === '' ? kind : 'bridge', name, patterns: [`${rule.pattern}`] });
      continue;
    }
    const patterns = bindings.map(({ pattern, via }) =>
      via === null ? `${pattern}` : `${pattern} (exchange '${via}')`,
    );
    matches.push({ kind, name: destination.name, patterns });
  }
  if (retained.get(address) !== undefined)
    matches.push({ kind: 'retained', name: address, patterns: [address] });
  return matches;
}

function newCounters(): CoreCounters {
  return {
    published: 0,
    publishedBytes: 0,
    delivered: 0,
    noRoute: 0,
    refused: 0,
    dropped: 0,
    expired: 0,
    deadLettered: 0,
    repliesPassed: 0,
    repliesLate: 0,
    repliesRefused: 0,
    repliesUnnamed: 0,
    commits: 0,
  };
}
