/**
 * Direct reply-to: a client consumes the pseudo-queue `amq.rabbitmq.reply-to`, sends requests with that as their
 * reply-to, and gets the answers without declaring a queue. Behind it stands a queue of this connection with a name
 * that cannot be guessed; requests carry that name. So answers may come by any protocol.
 */

import { randomBytes } from 'node:crypto';
import type { Queue } from '../../../src/core/index.ts';
import type { ChannelContext } from '../context.ts';
import { channelError } from '../errors.ts';

/** What clients write instead of a queue's name. */
export const DIRECT_REPLY_TO = 'amq.rabbitmq.reply-to';
const REPLY_QUEUE_PREFIX = `${DIRECT_REPLY_TO}.`;

/** Others may ask whether the requester is still there, by the name that its request carried. */
export function isReplyQueue(name: string): boolean {
  return name.startsWith(REPLY_QUEUE_PREFIX);
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
