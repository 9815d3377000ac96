/** PUBLISH of a client: reads the frame, gives an aliased topic its name, judges the topic and passes it inward. */

import type { PublishFrame } from '../codec/publish.ts';
import type { ProtocolVersion } from '../codec/wire.ts';
import { MqttError, Reason, type ReasonCode } from '../errors.ts';
import type { AliasesIn } from '../state/aliases.ts';
import type { Inbound } from '../state/inbound.ts';

const DOLLAR = 0x24;
const SLASH = 0x2f;

/** First levels that are the server's own, or stand for what this server does not offer. */
const REFUSALS: ReadonlyMap<string, ReasonCode> = new Map([
  ['$SYS', Reason.notAuthorized],
  ['$CONTROL', Reason.notAuthorized],
  ['$share', Reason.topicNameInvalid],
  ['$stream', Reason.topicNameInvalid],
  ['$delayed', Reason.topicNameInvalid],
]);

export class PublishHandler {
  readonly #version: ProtocolVersion;
  readonly #frame: PublishFrame;
  readonly #inbound: Inbound;
  readonly #aliases: AliasesIn;
  readonly #topicLevelsMax: number;
  #judged = '';
  #refusal: ReasonCode | 0 = 0;

  constructor(
    version: ProtocolVersion,
    frame: PublishFrame,
    inbound: Inbound,
    aliases: AliasesIn,
    topicLevelsMax: number,
  ) {
    this.#version = version;
    this.#frame = frame;
    this.#inbound = inbound;
    this.#aliases = aliases;
    this.#topicLevelsMax = topicLevelsMax;
  }

  handle(first: number, buffer: Buffer, start: number, end: number): void {
    const frame = this.#frame;
    frame.read(this.#version, first, buffer, start, end);
    if (frame.topicAlias >= 0) this.#aliases.resolve(frame);
    else if (frame.topic === '')
      throw new MqttError(Reason.protocolError, 'neither a topic nor a topic alias');
    if (frame.topic !== this.#judged) {
      this.#refusal = refusalOf(frame.topic, this.#topicLevelsMax);
      this.#judged = frame.topic;
    }
    this.#inbound.publish(frame, this.#refusal);
  }
}

/** 0 where clients may publish to the topic as far as the protocol goes; rights are the core's to judge. */
export function refusalOf(topic: string, topicLevelsMax: number): ReasonCode | 0 {
  if (topic.charCodeAt(0) === DOLLAR) {
    const slash = topic.indexOf('/');
    const refusal = REFUSALS.get(slash < 0 ? topic : topic.slice(0, slash));
    if (refusal !== undefined) return refusal;
  }
  let levels = 1;
  for (let at = 0; at < topic.length; at++) if (topic.charCodeAt(at) === SLASH) levels++;
  return levels > topicLevelsMax ? Reason.topicNameInvalid : 0;
}
