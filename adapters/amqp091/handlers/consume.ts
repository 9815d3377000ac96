/** Consuming: qos, consume, cancel and get of the class basic (AMQP 0-9-1 1.8.3). */

import { randomBytes } from 'node:crypto';
import { CoreError, type Queue, type Subscription } from '../../../src/core/index.ts';
import { writeGetOk } from '../codec/content-frames.ts';
import type { MethodArguments } from '../codec/methods.ts';
import { wireCursor } from '../codec/wire-content.ts';
import { type ChannelContext, whenStored } from '../context.ts';
import { channelError, connectionError, explain } from '../errors.ts';
import { readingRight, requireQueue } from '../rights.ts';
import { ConsumerState } from '../state/consumer.ts';
import { findArgument, integerOf } from './arguments.ts';
import { DIRECT_REPLY_TO, openReplyQueue } from './direct-reply.ts';
import { findForUse } from './queue.ts';
import { groupOf, namesQueueAddress, provideQueue, type Wanted, wantedFromConsume } from './queue-group.ts';

export const consumeHandlers = {
  'basic.qos': (channel: ChannelContext, values: MethodArguments<'basic.qos'>): void => {
    if (values.prefetchSize !== 0) {
      throw connectionError('not-implemented', `prefetch_size!=0 (${values.prefetchSize})`);
    }
    // As in RabbitMQ: one is for each consumer that starts later, the other is shared by all of the channel.
    if (values.global) {
      channel.prefetchOfAll = values.prefetchCount;
      if (channel.limited) channel.withdrawCredit('acknowledging');
      channel.send('basic.qos-ok', {});
      channel.restoreCredit();
    } else {
      channel.prefetch = values.prefetchCount;
      channel.send('basic.qos-ok', {});
    }
  },

  'basic.consume': (
    channel: ChannelContext,
    values: MethodArguments<'basic.consume'>,
  ): Promise<void> | void => {
    if (values.queue === DIRECT_REPLY_TO) return consumeReplies(channel, values);
    const wanted = wantedFromConsume(values);
    if (wanted !== null && namesQueueAddress(values.queue)) provideQueue(channel, wanted.queue);
    const queue = findForUse(channel, wanted?.queue ?? values.queue);
    requireQueue(channel.connection, 'read', queue.spec);
    if (wanted !== null && wanted.group !== '') return joinGroup(channel, queue, values, wanted);
    beginConsumer(channel, queue, values, wanted);
  },

  'basic.cancel': (channel: ChannelContext, values: MethodArguments<'basic.cancel'>): void => {
    const consumer = channel.consumers.get(values.consumerTag);
    // Idempotent. What the consumer holds stays unsettled, and may be settled later.
    if (consumer !== undefined) {
      channel.consumers.delete(values.consumerTag);
      consumer.close();
      if (consumer.queue === channel.replyQueue) channel.replyQueue = '';
    }
    if (!values.nowait) channel.send('basic.cancel-ok', { consumerTag: values.consumerTag });
  },

  /** The answer to a cancel of ours, from clients that send one. */
  'basic.cancel-ok': (): void => {},

  'basic.get': async (channel: ChannelContext, values: MethodArguments<'basic.get'>): Promise<void> => {
    const queue = findForUse(channel, values.queue);
    requireQueue(channel.connection, 'read', queue.spec);
    const delivery = await queue.take(values.noAck);
    const { connection } = channel;
    if (connection.state !== 'open') {
      delivery?.settle('released');
      return;
    }
    if (delivery === null) {
      channel.send('basic.get-empty', { clusterId: '' });
      return;
    }
    const tag = channel.nextDeliveryTag();
    if (!values.noAck) channel.unsettled.add(tag, delivery, null);
    const { message, options } = delivery;
    const { frameBytesMax } = connection;
    const { clock, core } = connection.shared.host;
    writeGetOk(
      connection.transport,
      channel.number,
      tag,
      delivery.redelivered,
      queue.readyCount,
      wireCursor.load(message, options.via, clock.nowMs(), frameBytesMax, core.replies),
      message.body,
      frameBytesMax,
    );
    connection.answered(channel);
  },
} as const;

/** A new group, and the queue that was made for it, are on disk before the answer. */
async function joinGroup(
  channel: ChannelContext,
  queue: Queue,
  values: MethodArguments<'basic.consume'>,
  wanted: Wanted,
): Promise<void> {
  groupOf(queue, wanted);
  await whenStored(channel.connection);
  if (channel.connection.state === 'open')
    beginConsumer(channel, findForUse(channel, queue.spec.name), values, wanted);
}

async function consumeReplies(
  channel: ChannelContext,
  values: MethodArguments<'basic.consume'>,
): Promise<void> {
  const queue = await openReplyQueue(channel, values.noAck);
  // The channel may have gone with its connection meanwhile, and the queue with both.
  if (channel.connection.state === 'open') beginConsumer(channel, queue, values, null);
}

function beginConsumer(
  channel: ChannelContext,
  queue: Queue,
  values: MethodArguments<'basic.consume'>,
  wanted: Wanted | null,
): void {
  const { settings } = channel.connection.shared;
  const { name } = queue.spec;
  const tag =
    values.consumerTag === '' ? `amq.ctag-${randomBytes(16).toString('base64url')}` : values.consumerTag;
  if (channel.consumers.has(tag)) {
    throw connectionError('not-allowed', `attempt to reuse consumer tag '${tag}'`);
  }
  if (channel.consumers.size >= settings.consumersPerChannelMax) {
    throw connectionError('not-allowed', 'too many consumers on the channel (consumersPerChannelMax)');
  }
  const consumer = new ConsumerState(
    channel,
    tag,
    name,
    values.noAck,
    readingRight(channel.connection, queue.spec),
  );
  let subscription: Subscription;
  try {
    const priority = priorityOf(values);
    subscription =
      wanted !== null && wanted.group !== ''
        ? groupOf(queue, wanted).consume(consumer, { settled: values.noAck, priority, timely: true })
        : queue.consume(consumer, { settled: values.noAck, exclusive: values.exclusive, priority });
  } catch (error) {
    if (!(error instanceof CoreError) || error.code !== 'exclusive') throw error;
    throw channelError('access-refused', explain.exclusiveUse(name));
  }
  channel.consumers.set(tag, consumer);
  if (!values.nowait) channel.send('basic.consume-ok', { consumerTag: tag });
  const limit = channel.prefetch === 0 ? settings.unsettledPerConsumerMax : channel.prefetch;
  consumer.begin(subscription, values.noAck ? Number.POSITIVE_INFINITY : limit);
}

function priorityOf({ arguments: given }: MethodArguments<'basic.consume'>): number {
  const value = findArgument(given, 'x-priority');
  if (value === undefined) return 0;
  const priority = integerOf(value);
  if (priority === null) throw channelError('precondition-failed', "invalid arg 'x-priority'");
  return priority;
}
