/**
 * Queues of the core in the words of queue.declare (RabbitMQ's queue arguments). For the HTTP API, which makes queues that
 * clients may declare again: a client that asks for the same bounds finds the same queue.
 */

import { type Header, type QueueSpec, swapSeparators } from '../src/core/index.ts';

/** The arguments that say what the queue's bounds say; what is at its default is not said. */
export function argumentsOfQueue(spec: QueueSpec): readonly Header[] {
  const said: Header[] = [];
  const number = (name: string, value: number): void => {
    if (value >= 0) said.push({ name, value: { kind: 'i64', value: BigInt(value) } });
  };
  const text = (name: string, value: string): void => {
    said.push({ name, value: { kind: 'string', value } });
  };
  number('x-max-length', spec.messagesMax);
  number('x-max-length-bytes', spec.bytesMax);
  if (spec.overflow === 'reject') text('x-overflow', 'reject-publish');
  number('x-message-ttl', spec.messageTtlMs);
  number('x-expires', spec.expiresMs);
  if (spec.deadLetter !== null) {
    const { exchange, key } = spec.deadLetter;
    text('x-dead-letter-exchange', exchange);
    if (key !== null) text('x-dead-letter-routing-key', swapSeparators(key));
  }
  return said;
}
