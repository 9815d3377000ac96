/**
 * Direct reply-to: a client consumes the pseudo-queue `amq.rabbitmq.reply-to`, sends requests with that as their
 * reply-to, and gets the answers without declaring a queue. Behind it stands a queue of this connection with a name
 * that cannot be guessed; requests carry that name. So answers may come by any protocol.
 */

import { randomBytes } from 'node:crypto';
import { addressFromReplyTo, REPLY_TOKEN_PREFIX } from '../../../mappings/amqp091.ts';
import { type Queue, queueAddress } from '../../../src/core/index.ts';
import type { ChannelContext } from '../context.ts';
import { channelError, explain } from '../errors.ts';

/** What clients write instead of a queue's name. */
export const DIRECT_REPLY_TO = 'amq.rabbitmq.reply-to';
const REPLY_QUEUE_PREFIX = `${DIRECT_REPLY_TO}.`;

export function isReplyQueue(name: string): boolean {
  return name.startsWith(REPLY_QUEUE_PREFIX);
}

/**
 * Whether `name` is where an answer may be sent that is no queue to declare: RabbitMQ answers such a declaration, passive
 * or not, as long as somebody waits there, so that a server may ask before it works. Throws 404 where nobody does.
 */
export function isWaitedFor(channel: ChannelContext, name: string): boolean {
  if (name === DIRECT_REPLY_TO) return true;
  const isToken = name.startsWith(REPLY_TOKEN_PREFIX);
  if (!isToken && !isReplyQueue(name)) return false;
  const { core } = channel.connection.shared.host;
  const target = isToken ? core.replies.targetOf(addressFromReplyTo(name)) : queueAddress(name);
  if (target === null || core.explain(target).length === 0)
    throw channelError('not-found', explain.noQueue(name));
  return true;
}

/** The queue that answers come to; it goes with its consumer. */
export async function openReplyQueue(channel: ChannelContext, noAck: boolean): Promise<Queue> {
  if (!noAck) throw channelError('precondition-failed', 'reply consumer cannot acknowledge');
  if (channel.replyQueue !== '') throw channelError('precondition-failed', 'reply consumer already set');
  const queue = await channel.connection.shared.host.core.queues.declare({
    name: REPLY_QUEUE_PREFIX + randomBytes(16).toString('base64url'),
    durable: false,
    autoDelete: true,
    owner: channel.connection,
    messagesMax: -1,
    bytesMax: -1,
    overflow: 'drop-oldest',
    messageTtlMs: -1,
    expiresMs: -1,
    deadLetter: null,
    arguments: [],
  });
  channel.replyQueue = queue.spec.name;
  return queue;
}
