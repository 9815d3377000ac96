/**
 * Finds out for a batch which of its topics can be sent to, and creates what is missing where the bridge may. Called by the links
 * out before they send. A topic that is not there is no error of the link: its messages wait.
 */

import type { Cluster } from './cluster.ts';
import { linkErrorOf } from './errors.ts';
import type { OutSettings } from './settings.ts';

/** After so long it is looked whether a topic has more partitions. */
const KNOWN_MS = 60_000;
/** A topic that was created takes a moment until every broker knows it. */
const APPEAR_MS_MAX = 5_000;
const APPEAR_PAUSE_MS = 50;

export interface TopicRefusal {
  readonly reason: string;
  readonly permanent: boolean;
}

export class Topics {
  readonly #cluster: Cluster;
  readonly #settings: OutSettings;
  readonly #lookedMs = new Map<string, number>();

  constructor(cluster: Cluster, settings: OutSettings) {
    this.#cluster = cluster;
    this.#settings = settings;
  }

  /** Why not, of those that cannot be sent to, by name. */
  async prepare(names: ReadonlySet<string>): Promise<ReadonlyMap<string, TopicRefusal>> {
    const nowMs = this.#cluster.nowMs();
    const unknown = [...names].filter(
      (name) => this.#cluster.topic(name) === undefined || nowMs - (this.#lookedMs.get(name) ?? 0) > KNOWN_MS,
    );
    if (unknown.length === 0) return NONE;
    const refusals = await this.#look(unknown);
    const missing = [...refusals]
      .filter(([, { code }]) => code === 'UNKNOWN_TOPIC_OR_PARTITION')
      .map(([name]) => name);
    if (missing.length > 0 && this.#settings.createTopics) await this.#create(missing, refusals);
    return refusals;
  }

  async #look(names: readonly string[]): Promise<Map<string, TopicRefusal & { readonly code: string }>> {
    const refusals = new Map<string, TopicRefusal & { readonly code: string }>();
    for (const { name, error } of await this.#cluster.look(names)) {
      if (error === null) this.#lookedMs.set(name, this.#cluster.nowMs());
      // No leader at this moment: the producer waits for one.
      else if (error !== 'LEADER_NOT_AVAILABLE' || this.#cluster.topic(name) === undefined) {
        this.#lookedMs.delete(name);
        refusals.set(name, refusalOf(name, error));
      }
    }
    return refusals;
  }

  async #create(
    missing: readonly string[],
    refusals: Map<string, TopicRefusal & { readonly code: string }>,
  ): Promise<void> {
    const { partitions, replicationFactor } = this.#settings;
    let refused: ReadonlyMap<string, string>;
    try {
      refused = await this.#cluster.createTopics(missing, partitions, replicationFactor);
    } catch (error) {
      throw linkErrorOf(error, 'topics cannot be created');
    }
    const awaited = new Set(missing.filter((name) => !refused.has(name)));
    for (const [name, said] of refused) {
      refusals.set(name, { code: '', reason: `topic ${name} cannot be created: ${said}`, permanent: false });
    }
    const deadlineMs = this.#cluster.nowMs() + APPEAR_MS_MAX;
    while (awaited.size > 0 && this.#cluster.nowMs() < deadlineMs) {
      const still = await this.#look([...awaited]);
      for (const name of awaited) {
        if (still.has(name)) continue;
        awaited.delete(name);
        refusals.delete(name);
      }
      if (awaited.size > 0) await this.#cluster.wait(APPEAR_PAUSE_MS);
    }
  }
}

const NONE: ReadonlyMap<string, TopicRefusal> = new Map();

function refusalOf(name: string, code: string): TopicRefusal & { readonly code: string } {
  if (code === 'UNKNOWN_TOPIC_OR_PARTITION')
    return { code, reason: `topic ${name} is not there`, permanent: false };
  if (code === 'INVALID_TOPIC_EXCEPTION')
    return { code, reason: `${name} is no name of a topic there`, permanent: true };
  return { code, reason: `topic ${name}: ${code}`, permanent: false };
}
