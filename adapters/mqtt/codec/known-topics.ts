/**
 * The topics that clients published to last, found by their bytes: of a topic that comes again no text is made, checked
 * and looked for anew, and everything behind compares one text with itself. One table for all connections, in which a
 * topic has one place that the next with the same hash takes over, so that it is bounded and never swept. Used by
 * `publish.ts`.
 */

import { addressFromTopic } from '../../../mappings/mqtt.ts';
import { MqttError, Reason } from '../errors.ts';
import { textFromBytes } from './wire.ts';

/** A power of two. */
const PLACES = 4096;
/** Longer topics have no place, so that the table takes no more than some 2.5 MB. */
const KNOWN_BYTES_MAX = 64;
/** Of longer ones not even the last is remembered: comparing them would cost as much as reading them. */
const REMEMBERED_BYTES_MAX = 256;
const NO_BYTES = new Uint8Array(0);
const FNV_PRIME = 0x0100_0193;
const FNV_BASIS = 0x811c_9dc5;

export interface KnownTopic {
  /** None where they are not remembered. */
  readonly bytes: Uint8Array;
  readonly topic: string;
  readonly address: string;
}

export const NO_TOPIC: KnownTopic = { bytes: NO_BYTES, topic: '', address: '' };

const places: KnownTopic[] = new Array(PLACES).fill(NO_TOPIC);
/** The bytes of each, and how many: beside each other, as what one topic is compared with must be at hand for the next. */
const bytesOfPlaces = new Uint8Array(PLACES * KNOWN_BYTES_MAX);
const lengthOfPlaces = new Uint8Array(PLACES);

/** The topic in `buffer[start, end)`. Throws MqttError where it is none. */
export function topicFromBytes(buffer: Buffer, start: number, end: number): KnownTopic {
  const length = end - start;
  if (length > KNOWN_BYTES_MAX) return makeTopic(buffer, start, end);
  let hash = FNV_BASIS;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (buffer[at] as number), FNV_PRIME);
  const place = (hash ^ (hash >>> 16)) & (PLACES - 1);
  if (lengthOfPlaces[place] === length && length !== 0) {
    let at = start;
    let known = place * KNOWN_BYTES_MAX;
    while (at < end && buffer[at] === bytesOfPlaces[known]) {
      at++;
      known++;
    }
    if (at === end) return places[place] as KnownTopic;
  }
  const made = makeTopic(buffer, start, end);
  places[place] = made;
  bytesOfPlaces.set(made.bytes, place * KNOWN_BYTES_MAX);
  lengthOfPlaces[place] = length;
  return made;
}

/** Whether these bytes, which are not none, stand in the buffer. */
export function isAt(bytes: Uint8Array, buffer: Buffer, start: number, length: number): boolean {
  if (length !== bytes.length || length === 0) return false;
  let i = 0;
  while (i < length && buffer[start + i] === bytes[i]) i++;
  return i === length;
}

function makeTopic(buffer: Buffer, start: number, end: number): KnownTopic {
  const topic = textFromBytes(buffer, start, end);
  checkTopicName(topic);
  const bytes = end - start > REMEMBERED_BYTES_MAX ? NO_BYTES : new Uint8Array(buffer.subarray(start, end));
  return { bytes, topic, address: addressFromTopic(topic) };
}

/** `[MQTT-4.7.3-1]` at least one character; `[MQTT-3.3.2-2]` no wildcards. Text is checked for U+0000 already. */
export function checkTopicName(topic: string): void {
  if (topic === '') throw new MqttError(Reason.topicNameInvalid, 'a topic name has at least one character');
  if (topic.includes('+') || topic.includes('#')) {
    throw new MqttError(Reason.topicNameInvalid, 'a topic name holds no wildcard');
  }
}
