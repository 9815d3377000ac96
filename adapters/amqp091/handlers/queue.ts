/** Methods of the class queue (AMQP 0-9-1 1.7 and RabbitMQ's queue arguments). */

import { randomBytes } from 'node:crypto';

import { type ExchangeBinding, type Queue, type QueueSpec, swapSeparators } from '../../../src/core/index.ts';
import type { MethodArguments } from '../codec/methods.ts';
import { type ChannelContext, whenStored } from '../context.ts';
import { channelError, explain } from '../errors.ts';
import { requireDeadLetter, requireQueue, SERVER_NAME_PREFIX } from '../rights.ts';
import {
  describeValue,
  explained,
  integerArgument,
  invalid,
  isSameArgument,
  nameWithoutLineEnds,
  stringArgument,
} from './arguments.ts';
import { isWaitedFor } from './direct-reply.ts';
import { bindingFromMethod } from './exchange.ts';

const RESERVED_PREFIX = 'amq.';

/** Arguments that must be the same when a queue is declared again. */
const COMPARED_ARGUMENTS = [
  'x-dead-letter-exchange',
  'x-dead-letter-routing-key',
  'x-expires',
  'x-max-length',
  'x-max-length-bytes',
  'x-message-ttl',
  'x-single-active-consumer',
  'x-queue-type',
  'x-max-priority',
] as const;

export const queueHandlers = {
  'queue.declare': async (
    channel: ChannelContext,
    values: MethodArguments<'queue.declare'>,
  ): Promise<void> => {
    if (isWaitedFor(channel, values.queue)) {
      if (!values.nowait)
        channel.send('queue.declare-ok', { queue: values.queue, messageCount: 0, consumerCount: 1 });
      return;
    }
    const queue = values.passive ? findForUse(channel, values.queue) : await declareQueue(channel, values);
    const { name } = queue.spec;
    channel.lastQueue = name;
    if (values.nowait) return;
    channel.send('queue.declare-ok', {
      queue: name,
      messageCount: queue.readyCount,
      consumerCount: queue.consumerCount,
    });
  },

  'queue.bind': async (channel: ChannelContext, values: MethodArguments<'queue.bind'>): Promise<void> => {
    const queue = findForUse(channel, values.queue);
    requireQueue(channel.connection, 'write', queue.spec);
    channel.connection.shared.host.core.exchanges.bind(queueBinding(channel, values));
    if (isStored(queue.spec)) await whenStored(channel.connection);
    if (!values.nowait) channel.send('queue.bind-ok', {});
  },

  'queue.unbind': async (channel: ChannelContext, values: MethodArguments<'queue.unbind'>): Promise<void> => {
    const { exchanges, queues } = channel.connection.shared.host.core;
    const binding = queueBinding(channel, values);
    const queue = queues.get(binding.target.name);
    if (queue !== undefined) {
      refuseLocked(channel, queue);
      requireQueue(channel.connection, 'write', queue.spec);
    }
    // Idempotent, also where the queue is gone with its bindings.
    exchanges.unbind(binding);
    await whenStored(channel.connection);
    channel.send('queue.unbind-ok', {});
  },

  'queue.purge': (channel: ChannelContext, values: MethodArguments<'queue.purge'>): void => {
    const queue = findForUse(channel, values.queue);
    requireQueue(channel.connection, 'read', queue.spec);
    const messageCount = queue.purge();
    if (!values.nowait) channel.send('queue.purge-ok', { messageCount });
  },

  'queue.delete': async (channel: ChannelContext, values: MethodArguments<'queue.delete'>): Promise<void> => {
    const name = expandName(channel, values.queue);
    const { queues } = channel.connection.shared.host.core;
    let messageCount = 0;
    // Idempotent, as in RabbitMQ.
    if (queues.get(name) !== undefined) {
      const { spec } = findForUse(channel, name);
      requireQueue(channel.connection, 'configure', spec);
      messageCount = explained('queue', name, () =>
        queues.delete(name, { ifUnused: values.ifUnused, ifEmpty: values.ifEmpty }),
      );
      if (isStored(spec)) await whenStored(channel.connection);
    }
    if (!values.nowait) channel.send('queue.delete-ok', { messageCount });
  },
} as const;

/** A queue of one connection does not outlive the process. */
function isStored({ durable, owner }: QueueSpec): boolean {
  return durable && owner === null;
}

/** An empty name is the queue that this channel declared last. */
function expandName(channel: ChannelContext, name: string): string {
  if (name !== '') return nameWithoutLineEnds(name);
  if (channel.lastQueue === '') throw channelError('not-found', 'no previously declared queue');
  return channel.lastQueue;
}

/** The queue of that name, where this connection may use it. */
export function findForUse(channel: ChannelContext, name: string): Queue {
  const queue = findByName(channel, expandName(channel, name));
  refuseLocked(channel, queue);
  return queue;
}

function findByName(channel: ChannelContext, name: string): Queue {
  const queue = channel.connection.shared.host.core.queues.get(name);
  if (queue === undefined) throw channelError('not-found', explain.noQueue(name));
  return queue;
}

function refuseLocked(channel: ChannelContext, { spec }: Queue): void {
  if (spec.owner !== null && spec.owner !== channel.connection) {
    throw channelError('resource-locked', explain.lockedQueue(spec.name));
  }
}

async function declareQueue(
  channel: ChannelContext,
  values: MethodArguments<'queue.declare'>,
): Promise<Queue> {
  const { queues } = channel.connection.shared.host.core;
  const asked = nameWithoutLineEnds(values.queue);
  const name = asked === '' ? SERVER_NAME_PREFIX + randomBytes(16).toString('base64url') : asked;
  const spec = specFromDeclare(channel, name, values);
  const existing = queues.get(name);
  if (existing === undefined) {
    if (asked.startsWith(RESERVED_PREFIX)) {
      throw channelError('access-refused', explain.reservedPrefix('queue', name));
    }
  }
  requireQueue(channel.connection, 'configure', spec);
  if (spec.deadLetter !== null) {
    requireQueue(channel.connection, 'read', spec);
    requireDeadLetter(channel.connection, spec.deadLetter);
  }
  // Also where it is there: from now on it is used under its own name.
  const queue = await queues.declare(spec);
  compareQueue(channel, queue, spec);
  if (existing === undefined && isStored(spec)) await whenStored(channel.connection);
  return queue;
}

function specFromDeclare(
  channel: ChannelContext,
  name: string,
  values: MethodArguments<'queue.declare'>,
): QueueSpec {
  const given = values.arguments;
  checkType(name, values);
  const priorityMax = integerArgument(given, 'x-max-priority', name, 0);
  if (priorityMax > 255) throw invalid('x-max-priority', 'queue', name, `${priorityMax} is above 255`);
  const overflow = stringArgument(given, 'x-overflow', 'queue', name);
  if (overflow !== null && !['drop-head', 'reject-publish', 'reject-publish-dlx'].includes(overflow)) {
    throw invalid('x-overflow', 'queue', name, `'${overflow}' is no known behaviour`);
  }
  const exchange = stringArgument(given, 'x-dead-letter-exchange', 'queue', name);
  const key = stringArgument(given, 'x-dead-letter-routing-key', 'queue', name);
  if (key !== null && exchange === null) {
    throw invalid('x-dead-letter-routing-key', 'queue', name, 'routing_key_but_no_dlx_defined');
  }
  return {
    name,
    durable: values.durable,
    autoDelete: values.autoDelete,
    owner: values.exclusive ? channel.connection : null,
    messagesMax: integerArgument(given, 'x-max-length', name, 0),
    bytesMax: integerArgument(given, 'x-max-length-bytes', name, 0),
    overflow: overflow === null || overflow === 'drop-head' ? 'drop-oldest' : 'reject',
    messageTtlMs: integerArgument(given, 'x-message-ttl', name, 0),
    expiresMs: integerArgument(given, 'x-expires', name, 1),
    deadLetter: exchange === null ? null : { exchange, key: key === null ? null : swapSeparators(key) },
    arguments: given,
  };
}

/** All kinds are kept alike; what a kind forbids is refused as RabbitMQ does. */
function checkType(name: string, values: MethodArguments<'queue.declare'>): void {
  const type = stringArgument(values.arguments, 'x-queue-type', 'queue', name);
  if (type === null || type === 'classic') return;
  if (type !== 'quorum') {
    throw invalid('x-queue-type', 'queue', name, `unsupported queue type '${type}'`);
  }
  if (!values.durable) throw invalid('x-queue-type', 'queue', name, 'a quorum queue must be durable');
  if (values.exclusive) throw invalid('x-queue-type', 'queue', name, 'a quorum queue cannot be exclusive');
}

function compareQueue(channel: ChannelContext, queue: Queue, asked: QueueSpec): void {
  const { spec } = queue;
  refuseLocked(channel, queue);
  if (spec.owner !== asked.owner) throw channelError('resource-locked', explain.lockedQueue(spec.name));
  if (spec.durable !== asked.durable) throw inequivalentFlag('durable', spec, asked.durable, spec.durable);
  if (spec.autoDelete !== asked.autoDelete) {
    throw inequivalentFlag('auto_delete', spec, asked.autoDelete, spec.autoDelete);
  }
  for (const argument of COMPARED_ARGUMENTS) {
    if (isSameArgument(spec.arguments, asked.arguments, argument)) continue;
    if (argument === 'x-queue-type' && isClassic(spec) && isClassic(asked)) continue;
    throw channelError(
      'precondition-failed',
      explain.inequivalent(
        argument,
        'queue',
        spec.name,
        describeValue(asked.arguments, argument),
        describeValue(spec.arguments, argument),
      ),
    );
  }
}

/** Saying nothing of the type is asking for classic. */
function isClassic(spec: QueueSpec): boolean {
  const type = stringArgument(spec.arguments, 'x-queue-type', 'queue', spec.name);
  return type === null || type === 'classic';
}

function inequivalentFlag(argument: string, spec: QueueSpec, received: boolean, current: boolean): Error {
  return channelError(
    'precondition-failed',
    explain.inequivalent(argument, 'queue', spec.name, `'${received}'`, `'${current}'`),
  );
}

function queueBinding(
  channel: ChannelContext,
  values: MethodArguments<'queue.bind'> | MethodArguments<'queue.unbind'>,
): ExchangeBinding {
  const name = expandName(channel, values.queue);
  // With neither queue nor key the last queue's name is both (AMQP 0-9-1 1.7.2.3.1).
  const key = values.queue === '' && values.routingKey === '' ? name : values.routingKey;
  return bindingFromMethod(channel, values.exchange, { kind: 'queue', name }, key, values.arguments);
}
