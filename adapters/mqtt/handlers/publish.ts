/** PUBLISH of a client: reads the frame, gives an aliased topic its name, judges the topic and passes it inward. */

import { isUtf8 } from 'node:buffer';
import { addressFromTopic } from '../../../mappings/mqtt.ts';
import {
  expandQueueAlias,
  isQueueTopic,
  type Settlement,
  settlementFromTopic,
} from '../../../mappings/mqtt-queues.ts';
import { countLevels, queueNameFromAddress } from '../../../src/core/index.ts';
import { arrived } from '../codec/arrived.ts';
import type { PublishFrame } from '../codec/publish.ts';
import type { ProtocolVersion } from '../codec/wire.ts';
import { MqttError, Reason, type ReasonCode } from '../errors.ts';
import type { MqttSettings } from '../settings.ts';
import type { AliasesIn } from '../state/aliases.ts';
import type { ConnectionEvents } from '../state/client.ts';
import type { Inbound } from '../state/inbound.ts';
import type { MessageRate } from '../state/message-rate.ts';
import type { Traffic } from '../state/traffic.ts';

const DOLLAR = 0x24;
/** `$delayed/<seconds>/<topic>`: a message for `<topic>` in so many seconds. */
const DELAYED_ROOT = '$delayed/';
/** Differs from no delay, and is due at once. */
const AT_ONCE_SECONDS = 0.001;

/** First levels that are the server's own, or stand for what this server does not offer. */
const REFUSALS: ReadonlyMap<string, ReasonCode> = new Map([
  ['$SYS', Reason.notAuthorized],
  ['$CONTROL', Reason.notAuthorized],
  ['$share', Reason.topicNameInvalid],
  ['$stream', Reason.topicNameInvalid],
  ['$s', Reason.topicNameInvalid],
  ['$delayed', Reason.topicNameInvalid],
]);

export interface PublishOptions {
  readonly version: ProtocolVersion;
  readonly frame: PublishFrame;
  readonly inbound: Inbound;
  readonly aliases: AliasesIn;
  readonly rate: MessageRate | null;
  /** Settles a delivery of a queue; returns why not, or null. */
  settle(settlement: Settlement, native: Uint8Array | null): MqttError | null;
  readonly events: ConnectionEvents;
  readonly traffic: Traffic;
  readonly settings: MqttSettings;
}

export class PublishHandler {
  readonly #options: PublishOptions;
  readonly #version: ProtocolVersion;
  readonly #frame: PublishFrame;
  readonly #inbound: Inbound;
  readonly #rate: MessageRate | null;
  readonly #traffic: Traffic;
  readonly #checksFormat: boolean;
  #judged = '';
  #refusal: ReasonCode | 0 = 0;
  #delaySeconds = 0;
  /** Where a message goes that is held back, or published by another name of the address; empty elsewhere. */
  #otherAddress = '';
  /** What a publish to the judged topic settles; nearly always null. */
  #settlement: Settlement | null = null;

  constructor(options: PublishOptions) {
    this.#options = options;
    this.#version = options.version;
    this.#frame = options.frame;
    this.#inbound = options.inbound;
    this.#rate = options.rate;
    this.#traffic = options.traffic;
    this.#checksFormat = options.settings.checkPayloadFormat;
  }

  handle(first: number, buffer: Buffer, start: number, end: number): void {
    const frame = this.#frame;
    this.#traffic.publishesReceived++;
    frame.read(this.#version, first, buffer, start, end);
    if (this.#rate !== null) this.#spend(this.#rate, end - start);
    if (frame.topicAlias >= 0) this.#options.aliases.resolve(frame);
    else if (frame.topic === '')
      throw new MqttError(Reason.protocolError, 'neither a topic nor a topic alias');
    if (frame.topic !== this.#judged) this.#judge(frame);
    if (this.#settlement !== null) {
      this.#settle(this.#settlement, frame);
      return;
    }
    frame.delaySeconds = this.#delaySeconds;
    if (this.#otherAddress !== '') {
      frame.address = this.#otherAddress;
      arrived.isWhole = false;
    }
    if (this.#checksFormat && frame.isText && !isUtf8(frame.body)) {
      this.#inbound.publish(frame, Reason.payloadFormatInvalid);
    } else this.#inbound.publish(frame, this.#refusal);
  }

  #judge({ topic, plainLevels }: PublishFrame): void {
    const { topicLevelsMax, delaySecondsMax } = this.#options.settings.limits;
    this.#judged = topic;
    this.#delaySeconds = 0;
    this.#otherAddress = '';
    this.#settlement = null;
    // What is refused by its name, is a queue's or waits begins with `$`.
    if (plainLevels !== 0) {
      this.#refusal = plainLevels > topicLevelsMax ? Reason.topicNameInvalid : 0;
      return;
    }
    if (!topic.startsWith(DELAYED_ROOT)) {
      this.#refusal = refusalOf(topic, topicLevelsMax);
      if (this.#refusal !== 0 || !isQueueTopic(topic)) return;
      this.#settlement = settlementOf(topic);
      if (this.#settlement === null) this.#refusal = refusalOfMessage(topic, topicLevelsMax);
      const expanded = expandQueueAlias(topic);
      if (expanded !== topic) this.#otherAddress = addressFromTopic(expanded);
      return;
    }
    const delayed = /^(\d{1,10})\/([\s\S]+)$/.exec(topic.slice(DELAYED_ROOT.length));
    if (delayed === null) {
      this.#refusal = Reason.topicNameInvalid;
      return;
    }
    const seconds = Number(delayed[1]);
    const target = delayed[2] as string;
    this.#refusal =
      seconds > delaySecondsMax ? Reason.implementationSpecific : refusalOfMessage(target, topicLevelsMax);
    // No delay at all is as if it had been published there.
    this.#delaySeconds = Math.max(seconds, AT_ONCE_SECONDS);
    this.#otherAddress = addressFromTopic(expandQueueAlias(target));
  }

  #settle(settlement: Settlement, frame: PublishFrame): void {
    this.#inbound.perform(frame, () => this.#options.settle(settlement, frame.native));
  }

  #spend(rate: MessageRate, bytes: number): void {
    const waitMs = rate.spend(bytes);
    if (waitMs === 0) return;
    if (this.#options.settings.overRate === 'disconnect') {
      throw new MqttError(Reason.messageRateTooHigh, 'messages come faster than allowed');
    }
    this.#options.events.rest(waitMs);
  }
}

function settlementOf(topic: string): Settlement | null {
  const settlement = settlementFromTopic(topic);
  return typeof settlement === 'string' ? null : settlement;
}

/** As `refusalOf`, of a topic that is to get a message: neither a control topic nor a queue without a name. */
export function refusalOfMessage(topic: string, topicLevelsMax: number): ReasonCode | 0 {
  const refusal = refusalOf(topic, topicLevelsMax);
  if (refusal !== 0 || !isQueueTopic(topic)) return refusal;
  const isNamed = queueNameFromAddress(addressFromTopic(expandQueueAlias(topic))) !== null;
  return isNamed && settlementFromTopic(topic) === null ? 0 : Reason.topicNameInvalid;
}

/** 0 where clients may publish to the topic as far as the protocol goes; rights are the core's to judge. */
function refusalOf(topic: string, topicLevelsMax: number): ReasonCode | 0 {
  if (topic.charCodeAt(0) === DOLLAR) {
    const slash = topic.indexOf('/');
    const refusal = REFUSALS.get(slash < 0 ? topic : topic.slice(0, slash));
    if (refusal !== undefined) return refusal;
  }
  return countLevels(topic) > topicLevelsMax ? Reason.topicNameInvalid : 0;
}
