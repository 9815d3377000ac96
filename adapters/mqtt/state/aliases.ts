/**
 * Topic aliases of one connection, each direction by itself; never carried over to another connection
 * `[MQTT-3.3.2-7]`. Made only where the side that receives allows them. Source: MQTT 5.0 section 3.3.2.3.4.
 */

import type { PublishFrame } from '../codec/publish.ts';
import { MqttError, protocolError, Reason } from '../errors.ts';

/** Characters of all topics that the aliases of one client stand for. */
const TOPIC_CHARS_MAX = 1_048_576;

/** From the client to us. */
export class AliasesIn {
  readonly #maximum: number;
  #topics: Map<number, { readonly topic: string; readonly address: string }> | null = null;
  #topicChars = 0;

  constructor(maximum: number) {
    this.#maximum = maximum;
  }

  /** Gives the frame its topic, or remembers the one it has. `[MQTT-3.3.2-8]`, `[MQTT-3.3.2-9]` */
  resolve(frame: PublishFrame): void {
    const alias = frame.topicAlias;
    if (alias === 0 || alias > this.#maximum) {
      throw new MqttError(
        Reason.topicAliasInvalid,
        `topic alias ${alias} is not within 1 to ${this.#maximum}`,
      );
    }
    if (frame.topic !== '') {
      this.#topics ??= new Map();
      this.#topicChars += frame.topic.length - (this.#topics.get(alias)?.topic.length ?? 0);
      if (this.#topicChars > TOPIC_CHARS_MAX) {
        throw new MqttError(Reason.quotaExceeded, 'the topics of the topic aliases are too long together');
      }
      this.#topics.set(alias, { topic: frame.topic, address: frame.address });
      return;
    }
    const known = this.#topics?.get(alias);
    if (known === undefined) throw protocolError(`topic alias ${alias} stands for no topic yet`);
    frame.topic = known.topic;
    frame.address = known.address;
  }
}

/** From us to the client: the first addresses that are used get one, until all are given out. */
export class AliasesOut {
  /** Whether the alias last given was known to the client before. */
  known = false;
  readonly #maximum: number;
  readonly #aliases = new Map<string, number>();

  constructor(maximum: number) {
    this.#maximum = maximum;
  }

  /** 0 where all are taken. A new one counts as known only after `sent`. */
  aliasOf(address: string): number {
    const alias = this.#aliases.get(address);
    this.known = alias !== undefined;
    if (alias !== undefined) return alias;
    return this.#aliases.size < this.#maximum ? this.#aliases.size + 1 : 0;
  }

  /** The packet that tells the client the alias is written. */
  sent(address: string, alias: number): void {
    this.#aliases.set(address, alias);
  }
}
