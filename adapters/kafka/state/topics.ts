/**
 * Topics as Kafka clients know them: the streams of the core, found by name or by id, made on demand, and asked
 * whether a client may use them. A topic is a stream and never an address; the address that its name stands for is
 * what access rules speak of and what a new stream captures.
 */

import { addressFromKafka, isDigestName, isTopicName } from '../../../mappings/kafka.ts';
import { type Core, Pattern, type Principal, type Stream } from '../../../src/core/index.ts';
import { KafkaError } from '../errors.ts';
import type { KafkaSettings } from '../settings.ts';
import {
  isInternalTopic,
  messageBytesMaxOf,
  type TopicSettings,
  topicSettingsFrom,
} from './topic-settings.ts';

/** Roots that clients of this protocol may capture; the others belong to the gateway. */
const OPEN_ROOTS: ReadonlySet<string> = new Set(['$queue', '$stream', '$reply']);

export class Topics {
  readonly #core: Core;
  readonly #settings: KafkaSettings;
  readonly #nameById = new Map<string, string>();
  readonly #facts = new WeakMap<Stream, TopicFacts>();

  constructor(core: Core, settings: KafkaSettings) {
    this.#core = core;
    this.#settings = settings;
  }

  get(name: string): Stream | undefined {
    return this.#core.streams.get(name);
  }

  byId(id: string): Stream | undefined {
    const name = this.#nameById.get(id);
    const stream = name === undefined ? undefined : this.#core.streams.get(name);
    if (stream !== undefined && this.factsOf(stream).id === id) return stream;
    this.#nameById.clear();
    for (const each of this.#core.streams.list()) this.#nameById.set(this.factsOf(each).id, each.spec.name);
    const found = this.#nameById.get(id);
    return found === undefined ? undefined : this.#core.streams.get(found);
  }

  /** In the order of their names; streams whose name Kafka cannot say are left out. */
  list(): Stream[] {
    const streams = [...this.#core.streams.list()].filter((stream) => isTopicName(stream.spec.name));
    return streams.sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1));
  }

  factsOf(stream: Stream): TopicFacts {
    let facts = this.#facts.get(stream);
    if (facts === undefined || facts.settings !== stream.spec.settings) {
      facts = {
        id: Buffer.from(stream.id).toString('hex'),
        address: addressFromKafka(stream.spec.name),
        settings: stream.spec.settings,
        messageBytesMax: messageBytesMaxOf(stream.spec.settings),
        internal: isInternalTopic(stream.spec.name),
      };
      this.#facts.set(stream, facts);
    }
    return facts;
  }

  may(principal: Principal, action: 'publish' | 'subscribe' | 'configure', stream: Stream): boolean {
    return this.#core.access.may(principal, action, this.factsOf(stream).address);
  }

  mayByName(principal: Principal, action: 'publish' | 'subscribe' | 'configure', name: string): boolean {
    return this.#core.access.may(principal, action, addressFromKafka(name));
  }

  /** Throws KafkaError where no stream of this name may be made. */
  checkNewName(name: string): void {
    if (!isTopicName(name)) throw new KafkaError('INVALID_TOPIC_EXCEPTION');
    if (isDigestName(name)) {
      throw new KafkaError('INVALID_TOPIC_EXCEPTION', 'the address of a shortened name is not known from it');
    }
    const address = addressFromKafka(name);
    const root = address.split('/', 1)[0] as string;
    if (root.startsWith('$') && !OPEN_ROOTS.has(root)) {
      throw new KafkaError('INVALID_TOPIC_EXCEPTION', `addresses under ${root} belong to the gateway`);
    }
    if (address.includes('\0')) throw new KafkaError('INVALID_TOPIC_EXCEPTION');
  }

  /** The stream of this name with the defaults, made if it is not there. */
  async ensure(name: string, principal: Principal): Promise<Stream> {
    const existing = this.get(name);
    if (existing !== undefined) return existing;
    this.checkNewName(name);
    if (!this.mayByName(principal, 'configure', name)) throw new KafkaError('TOPIC_AUTHORIZATION_FAILED');
    return this.declare(name, this.#settings.defaultPartitions, topicSettingsFrom({}, this.#settings));
  }

  declare(name: string, partitions: number, settings: TopicSettings): Promise<Stream> {
    return this.#core.streams.declare({
      name,
      partitions,
      captures: [Pattern.of(addressFromKafka(name))],
      log: settings.log,
      settings: settings.given,
    });
  }
}

/** What is asked of a stream for every request, worked out once. */
export interface TopicFacts {
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly address: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly messageBytesMax: number;
  readonly internal: boolean;
}
