/**
 * Topics as Kafka clients know them: the streams of the core, found by name or by id, made on demand, and asked
 * whether a client may use them. A topic is a stream and never an address; the address that its name stands for is
 * what access rules speak of and what a new stream captures.
 */

import { addressFromKafka, isDigestName, isTopicName } from '../../../mappings/kafka.ts';
import {
  type Clock,
  type Core,
  escapeLevel,
  Pattern,
  type Principal,
  type Stream,
  type StreamSpec,
} from '../../../src/core/index.ts';
import { KafkaError } from '../errors.ts';
import type { KafkaSettings } from '../settings.ts';
import {
  isInternalTopic,
  messageBytesMaxOf,
  type TopicSettings,
  topicSettingsFrom,
} from './topic-settings.ts';

/** Roots that clients of this protocol may capture; the others belong to the gateway. */
const OPEN_ROOTS: ReadonlySet<string> = new Set(['$queue', '$stream']);

/** Consumer groups are no addresses; rules speak of them as if they were, below this root. */
const GROUP_ROOT = '$group';

type TopicAction = 'publish' | 'read' | 'configure';
const SEEING: readonly TopicAction[] = ['read', 'publish', 'configure'];

/** Streams that no client of this protocol was told of are found by their ids after so long. */
const REMEMBERED_MS = 1_000;

export class Topics {
  readonly #core: Core;
  readonly #clock: Clock;
  readonly #settings: KafkaSettings;
  readonly #nameById = new Map<string, string>();
  #lastChange: Promise<void> = Promise.resolve();
  #rememberedAtMs = Number.NEGATIVE_INFINITY;
  readonly #facts = new WeakMap<Stream, TopicFacts>();

  constructor(core: Core, clock: Clock, settings: KafkaSettings) {
    this.#core = core;
    this.#clock = clock;
    this.#settings = settings;
  }

  get(name: string): Stream | undefined {
    return this.#core.streams.get(name);
  }

  byId(id: string): Stream | undefined {
    const name = this.#nameById.get(id);
    const stream = name === undefined ? undefined : this.#core.streams.get(name);
    if (stream !== undefined && this.factsOf(stream).id === id) return stream;
    // All streams are looked through now and then only, so that asking for many made-up ids is cheap.
    if (this.#clock.nowMs() - this.#rememberedAtMs < REMEMBERED_MS) return undefined;
    this.#rememberAll();
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
    if (facts === undefined) this.#remember(stream);
    if (facts === undefined || facts.settings !== stream.spec.settings) {
      facts = {
        id: idOf(stream),
        address: addressFromKafka(stream.spec.name),
        settings: stream.spec.settings,
        messageBytesMax: messageBytesMaxOf(stream.spec.settings),
        internal: isInternalTopic(stream.spec.name),
      };
      this.#facts.set(stream, facts);
    }
    return facts;
  }

  #rememberAll(): void {
    this.#rememberedAtMs = this.#clock.nowMs();
    this.#nameById.clear();
    for (const stream of this.#core.streams.list()) this.#nameById.set(idOf(stream), stream.spec.name);
  }

  /** Deleted streams leave ids behind, which are forgotten together when there are many. */
  #remember(stream: Stream): void {
    if (this.#nameById.size >= 2 * this.#core.limits.streamsMax) this.#rememberAll();
    this.#nameById.set(idOf(stream), stream.spec.name);
  }

  may(principal: Principal, action: TopicAction, stream: Stream): boolean {
    const { access } = this.#core;
    return access.unrestricted || access.may(principal, action, this.factsOf(stream).address);
  }

  mayByName(principal: Principal, action: TopicAction, name: string): boolean {
    return this.#core.access.may(principal, action, addressFromKafka(name));
  }

  /** Whoever may do anything with it may know of it. */
  maySee(principal: Principal, stream: Stream): boolean {
    return SEEING.some((action) => this.may(principal, action, stream));
  }

  /** `read`: be a member of the group, and read and commit its offsets. `configure`: delete it and its offsets. */
  mayUseGroup(principal: Principal, action: 'read' | 'configure', group: string): boolean {
    return this.#core.access.may(principal, action, `${GROUP_ROOT}/${escapeLevel(group)}`);
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
    const { defaultPartitions } = this.#settings;
    return this.#core.streams.declare(specOf(name, defaultPartitions, topicSettingsFrom({}, this.#settings)));
  }

  /** Runs `change` when those before it are done: what it reads of a topic is still so when it changes it. */
  inTurn(change: () => Promise<void>): Promise<void> {
    const result = this.#lastChange.then(change);
    this.#lastChange = result.catch(() => undefined);
    return result;
  }

  /** Throws KafkaError where somebody else has made it. */
  async create(name: string, partitions: number, settings: TopicSettings): Promise<Stream> {
    const spec = specOf(name, partitions, settings);
    const stream = this.get(name) ?? (await this.#core.streams.declare(spec));
    if (stream.spec !== spec) {
      throw new KafkaError('TOPIC_ALREADY_EXISTS', `Topic '${name}' already exists.`);
    }
    return stream;
  }
}

function specOf(name: string, partitions: number, settings: TopicSettings): StreamSpec {
  return {
    name,
    partitions,
    captures: [Pattern.of(addressFromKafka(name))],
    log: settings.log,
    settings: settings.given,
  };
}

function idOf(stream: Stream): string {
  return Buffer.from(stream.id).toString('hex');
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
