/** Settling what was delivered: ack, nack, reject and recover of the class basic (AMQP 0-9-1 1.8.3). */

import type { Buffer } from 'node:buffer';
import type { Delivery, Outcome } from '../../../src/core/index.ts';
import { readLongLong } from '../codec/method-codec.ts';
import type { MethodArguments } from '../codec/methods.ts';
import type { ChannelContext } from '../context.ts';
import { channelError, connectionError } from '../errors.ts';

/** Delivery tag 8, bits 1. */
const ACK_BYTES = 9;

/** basic.ack read in place: one comes for each message. */
export function settleAck(channel: ChannelContext, bytes: Buffer, at: number, end: number): void {
  if (end - at < ACK_BYTES) throw connectionError('frame-error', 'arguments of basic.ack are cut short');
  settle(channel, readLongLong(bytes, at), ((bytes[at + 8] as number) & 1) !== 0, 'accepted');
}

export const settleHandlers = {
  'basic.nack': (channel: ChannelContext, values: MethodArguments<'basic.nack'>): void =>
    settle(channel, values.deliveryTag, values.multiple, values.requeue ? 'modified' : 'rejected'),

  'basic.reject': (channel: ChannelContext, values: MethodArguments<'basic.reject'>): void =>
    settle(channel, values.deliveryTag, false, values.requeue ? 'modified' : 'rejected'),

  'basic.recover': (channel: ChannelContext, values: MethodArguments<'basic.recover'>): void => {
    recover(channel, values.requeue);
    channel.send('basic.recover-ok', {});
  },

  'basic.recover-async': (channel: ChannelContext, values: MethodArguments<'basic.recover-async'>): void =>
    recover(channel, values.requeue),
} as const;

/** With `multiple` everything up to the tag, all for tag 0. A tag that is not unsettled is an error. */
function settle(channel: ChannelContext, tag: number, multiple: boolean, outcome: Outcome): void {
  const { unsettled } = channel;
  if (!multiple) {
    const delivery = unsettled.take(tag);
    if (delivery === null) throw unknownTag(tag);
    delivery.settle(outcome);
    return;
  }
  if (tag !== 0 && !unsettled.has(tag)) throw unknownTag(tag);
  settleUpTo(channel, tag === 0 ? Number.POSITIVE_INFINITY : tag, outcome);
}

function settleUpTo(channel: ChannelContext, tag: number, outcome: Outcome): void {
  const { unsettled } = channel;
  if (outcome === 'accepted' || outcome === 'rejected') {
    for (let next = unsettled.takeFirst(tag); next !== null; next = unsettled.takeFirst(tag)) {
      next.settle(outcome);
    }
    return;
  }
  // What goes back may come again at once under a new tag, so all of it leaves the ring first.
  const returned: Delivery[] = [];
  for (let next = unsettled.takeFirst(tag); next !== null; next = unsettled.takeFirst(tag)) {
    returned.push(next);
  }
  for (const delivery of returned) delivery.settle(outcome);
}

function unknownTag(tag: number): Error {
  return channelError('precondition-failed', `unknown delivery tag ${tag}`);
}

/** Everything unsettled of this channel goes back to its queues. */
function recover(channel: ChannelContext, requeue: boolean): void {
  if (!requeue) throw connectionError('not-implemented', 'requeue=false');
  channel.withdrawCredit('acknowledging');
  settleUpTo(channel, Number.POSITIVE_INFINITY, 'released');
  channel.restoreCredit();
}
