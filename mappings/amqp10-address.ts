/**
 * Addresses of AMQP 1.0 ⇔ addresses. The protocol gives an address no separators, so a bare one is the address as it
 * stands; beside it what clients of other brokers write is understood: RabbitMQ's paths of version 2, `topic://` and
 * `queue://`, and a terminus that says by a capability that it means a queue. Pure; meant for termini, `to` and
 * `reply-to`.
 *
 * | address                        | stands for                                                     |
 * |--------------------------------|----------------------------------------------------------------|
 * | `sensors/room1`                | itself                                                         |
 * | `work`, capability `queue`     | the queue `work`                                               |
 * | `/queues/:queue`               | the queue; percent-encoded                                     |
 * | `/exchanges/:exchange/:key`    | exchange and key as in AMQP 0-9-1; percent-encoded, key may be missing |
 * | `topic://a/b`, `queue://work`  | the address, the queue                                         |
 */

import { defaultExchangeAddress, ROOT_EXCHANGE, swapSeparators } from '../src/core/index.ts';
import { addressFromAmqp091 } from './amqp091-address.ts';

const QUEUES = '/queues/';
const EXCHANGES = '/exchanges/';
const TOPIC_SCHEME = 'topic://';
const QUEUE_SCHEME = 'queue://';

/** Which kind of node a terminus says that it means, by its capabilities; null: it does not say. */
export type NodeKind = 'queue' | 'topic';

/** By the capabilities that brokers and JMS clients use. */
export function nodeKindFromCapabilities(capabilities: readonly string[]): NodeKind | null {
  for (const each of capabilities) {
    if (each === 'queue' || each === 'temporary-queue') return 'queue';
    if (each === 'topic' || each === 'temporary-topic') return 'topic';
  }
  return null;
}

/** The address; null for text that is none: empty, or a path with wrong parts. */
export function addressFromAmqp10(name: string, kind: NodeKind | null): string | null {
  if (name === '' || name.includes('\0')) return null;
  if (name.startsWith(TOPIC_SCHEME)) return nonEmpty(name.slice(TOPIC_SCHEME.length));
  if (name.startsWith(QUEUE_SCHEME)) return queueFromName(name.slice(QUEUE_SCHEME.length));
  if (name.startsWith(QUEUES)) {
    const [queue, ...rest] = partsOf(name, QUEUES);
    return queue === undefined || queue === null || rest.length > 0 ? null : queueFromName(queue);
  }
  if (name.startsWith(EXCHANGES)) {
    const [exchange, key = '', ...rest] = partsOf(name, EXCHANGES);
    if (exchange === undefined || exchange === null || exchange === '' || key === null) return null;
    return rest.length > 0 ? null : nonEmpty(addressFromAmqp091(exchange, key));
  }
  return kind === 'queue' ? queueFromName(name) : name;
}

/** The name of an address: the address itself unless that would mean something else. */
export function amqp10FromAddress(address: string): string {
  const isSpecial = [TOPIC_SCHEME, QUEUE_SCHEME, QUEUES, EXCHANGES].some((each) => address.startsWith(each));
  if (!isSpecial) return address;
  return `${EXCHANGES}${ROOT_EXCHANGE}/${encodeURIComponent(swapSeparators(address))}`;
}

function queueFromName(name: string): string | null {
  return name === '' || name.includes('\0') ? null : defaultExchangeAddress(name);
}

function nonEmpty(address: string): string | null {
  return address === '' || address.includes('\0') ? null : address;
}

/** Percent-decoded; null in the place of a part that is not encoded so. */
function partsOf(name: string, prefix: string): (string | null)[] {
  return name
    .slice(prefix.length)
    .split('/')
    .map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return null;
      }
    });
}
