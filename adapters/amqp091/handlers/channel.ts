/** Methods of the classes channel, access, confirm and tx (AMQP 0-9-1 1.5, 1.9; RabbitMQ confirms). */

import { Buffer } from 'node:buffer';
import type { MethodArguments } from '../codec/methods.ts';
import type { ChannelContext } from '../context.ts';
import { connectionError } from '../errors.ts';
import { Confirms } from '../state/confirms.ts';

/** Old clients show it with each method; nothing depends on it. */
const TICKET = 1;

export const channelHandlers = {
  'channel.open': (channel: ChannelContext): void => {
    channel.opened();
    channel.send('channel.open-ok', { channelId: Buffer.alloc(0) });
  },

  'channel.close': (channel: ChannelContext): void => channel.answerClose(),

  /** Consumers are slowed by credit; RabbitMQ does not stop them by request either. */
  'channel.flow': (channel: ChannelContext, { active }: MethodArguments<'channel.flow'>): void => {
    if (!active) throw connectionError('not-implemented', 'active=false');
    channel.send('channel.flow-ok', { active });
  },

  'channel.flow-ok': (): void => {},

  'access.request': (channel: ChannelContext): void => channel.send('access.request-ok', { ticket: TICKET }),

  'confirm.select': (channel: ChannelContext, { nowait }: MethodArguments<'confirm.select'>): void => {
    channel.confirms ??= new Confirms();
    if (!nowait) channel.send('confirm.select-ok', {});
  },

  'tx.select': refuseTransaction,
  'tx.commit': refuseTransaction,
  'tx.rollback': refuseTransaction,
} as const;

function refuseTransaction(): never {
  throw connectionError('not-implemented', 'transactions');
}
