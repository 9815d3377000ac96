/**
 * The topics that clients published to last, found by their bytes: of a topic that comes again no text is made, checked
 * and looked for anew, and everything behind compares one text with itself. One table for all connections, in which a
 * topic has one of four places that the next ones with the same hash take over, so that it is bounded and never swept.
 * What is known of the places stands in arrays beside each other, as fleets publish to more topics than the processor's
 * nearest memory holds objects of. Used by `publish.ts`.
 */

import { addressFromTopic } from '../../../mappings/mqtt.ts';
import { countLevels } from '../../../src/core/index.ts';
import { MqttError, Reason } from '../errors.ts';
import { textFromBytes } from './wire.ts';

/** A topic has one of so many; with one, a fifth of a thousand topics would take turns. Powers of two. */
const WAYS = 4;
const PLACES = 4096;
/** Longer topics have no place, so that the table takes no more than some 5 MB with the texts. */
export const KNOWN_BYTES_MAX = 256;
const FNV_PRIME = 0x0100_0193;
const FNV_BASIS = 0x811c_9dc5;
const DOLLAR = 0x24;

const bytesOfPlaces = new Uint8Array(PLACES * KNOWN_BYTES_MAX);
/** 0: the place is free. */
const lengthOfPlaces = new Uint16Array(PLACES);
const topicOfPlaces: string[] = new Array(PLACES).fill('');
const addressOfPlaces: string[] = new Array(PLACES).fill('');
const levelsOfPlaces = new Uint16Array(PLACES);
/** The way that the last new topic took where none was free. */
let nextWay = 0;

/**
 * The place of the topic in `buffer[start, end)`, 1 to `KNOWN_BYTES_MAX` bytes, until another is looked for. `likely`
 * is tried first. Throws MqttError where it is none.
 */
export function placeOfTopic(buffer: Buffer, start: number, end: number, likely: number): number {
  if (isAtPlace(likely, buffer, start, end)) return likely;
  let hash = FNV_BASIS;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (buffer[at] as number), FNV_PRIME);
  const first = ((hash ^ (hash >>> 16)) & (PLACES / WAYS - 1)) * WAYS;
  for (let place = first; place < first + WAYS; place++) {
    if (isAtPlace(place, buffer, start, end)) return place;
  }
  const topic = readTopic(buffer, start, end);
  const address = addressFromTopic(topic);
  const place = placeToTake(first);
  for (let at = start; at < end; at++)
    bytesOfPlaces[place * KNOWN_BYTES_MAX + at - start] = buffer[at] as number;
  lengthOfPlaces[place] = end - start;
  topicOfPlaces[place] = topic;
  addressOfPlaces[place] = address;
  levelsOfPlaces[place] = topic.charCodeAt(0) === DOLLAR ? 0 : countLevels(topic);
  return place;
}

/** A free one of those that begin at `first`, else the next in turn. */
function placeToTake(first: number): number {
  for (let place = first; place < first + WAYS; place++) if (lengthOfPlaces[place] === 0) return place;
  nextWay = (nextWay + 1) & (WAYS - 1);
  return first + nextWay;
}

export const topicAt = (place: number): string => topicOfPlaces[place] as string;
export const addressAt = (place: number): string => addressOfPlaces[place] as string;
/** How many levels the topic has; 0 for one that begins with `$`. */
export const plainLevelsAt = (place: number): number => levelsOfPlaces[place] as number;

function isAtPlace(place: number, buffer: Buffer, start: number, end: number): boolean {
  if (lengthOfPlaces[place] !== end - start) return false;
  let known = place * KNOWN_BYTES_MAX;
  let at = start;
  while (at < end && buffer[at] === bytesOfPlaces[known]) {
    at++;
    known++;
  }
  return at === end;
}

/** The text of a topic of any length. Throws MqttError where it is none. */
export function readTopic(buffer: Buffer, start: number, end: number): string {
  const topic = textFromBytes(buffer, start, end);
  checkTopicName(topic);
  return topic;
}

/** `[MQTT-4.7.3-1]` at least one character; `[MQTT-3.3.2-2]` no wildcards. Text is checked for U+0000 already. */
export function checkTopicName(topic: string): void {
  if (topic === '') throw new MqttError(Reason.topicNameInvalid, 'a topic name has at least one character');
  if (topic.includes('+') || topic.includes('#')) {
    throw new MqttError(Reason.topicNameInvalid, 'a topic name holds no wildcard');
  }
}
