/** Methods of the class exchange (AMQP 0-9-1 1.6 and RabbitMQ's bindings between exchanges). */

import { hasShortName } from '../../../mappings/amqp091.ts';
import {
  type ExchangeBinding,
  type ExchangeSpec,
  type ExchangeType,
  type Header,
  type HeaderMatch,
  swapSeparators,
} from '../../../src/core/index.ts';
import type { MethodArguments } from '../codec/methods.ts';
import { type ChannelContext, whenStored } from '../context.ts';
import { channelError, explain } from '../errors.ts';
import { requireBindingSource, requireExchangeRight } from '../rights.ts';
import { describeValue, explained, nameWithoutLineEnds, stringArgument } from './arguments.ts';

const TYPES: ReadonlySet<string> = new Set<ExchangeType>(['direct', 'fanout', 'topic', 'headers']);
const ALTERNATE = 'alternate-exchange';
const RESERVED_PREFIX = 'amq.';

export const exchangeHandlers = {
  'exchange.declare': async (
    channel: ChannelContext,
    values: MethodArguments<'exchange.declare'>,
  ): Promise<void> => {
    const name = nameWithoutLineEnds(values.exchange);
    const { exchanges } = channel.connection.shared.host.core;
    if (values.passive) {
      if (name !== '' && exchanges.get(name) === undefined) {
        throw channelError('not-found', explain.noExchange(name));
      }
    } else {
      refuseDefault(name);
      const spec = specFromDeclare(name, values);
      const existing = exchanges.get(name);
      if (existing === undefined) {
        if (name.startsWith(RESERVED_PREFIX)) {
          throw channelError('access-refused', explain.reservedPrefix('exchange', name));
        }
        requireDeclare(channel, spec);
        exchanges.declare(spec);
        if (spec.durable) await whenStored(channel.connection);
      } else {
        // What is always there cannot be changed by declaring it.
        if (!name.startsWith(RESERVED_PREFIX)) requireDeclare(channel, spec);
        compareExchange(existing, spec);
      }
    }
    if (!values.nowait) channel.send('exchange.declare-ok', {});
  },

  'exchange.delete': async (
    channel: ChannelContext,
    values: MethodArguments<'exchange.delete'>,
  ): Promise<void> => {
    const name = nameWithoutLineEnds(values.exchange);
    refuseDefault(name);
    if (name.startsWith(RESERVED_PREFIX)) {
      throw channelError('access-refused', explain.reservedPrefix('exchange', name));
    }
    const { exchanges } = channel.connection.shared.host.core;
    // Idempotent, as in RabbitMQ.
    if (exchanges.get(name) !== undefined) {
      requireExchangeRight(channel.connection, 'configure', name);
      explained('exchange', name, () => exchanges.delete(name, { ifUnused: values.ifUnused }));
      await whenStored(channel.connection);
    }
    if (!values.nowait) channel.send('exchange.delete-ok', {});
  },

  'exchange.bind': async (
    channel: ChannelContext,
    values: MethodArguments<'exchange.bind'>,
  ): Promise<void> => {
    const { exchanges } = channel.connection.shared.host.core;
    const binding = exchangeBinding(channel, values);
    requireExchange(channel, values.destination);
    requireExchangeRight(channel.connection, 'write', values.destination);
    exchanges.bind(binding);
    await whenStored(channel.connection);
    if (!values.nowait) channel.send('exchange.bind-ok', {});
  },

  'exchange.unbind': async (
    channel: ChannelContext,
    values: MethodArguments<'exchange.unbind'>,
  ): Promise<void> => {
    const binding = exchangeBinding(channel, values);
    requireExchangeRight(channel.connection, 'write', values.destination);
    channel.connection.shared.host.core.exchanges.unbind(binding);
    await whenStored(channel.connection);
    if (!values.nowait) channel.send('exchange.unbind-ok', {});
  },
} as const;

function refuseDefault(name: string): void {
  if (name === '') throw channelError('access-refused', explain.defaultExchange());
}

/** What nobody wants goes on to the alternate exchange: that is reading here and writing there. */
function requireDeclare({ connection }: ChannelContext, { name, alternate }: ExchangeSpec): void {
  requireExchangeRight(connection, 'configure', name);
  if (alternate === null) return;
  requireExchangeRight(connection, 'read', name);
  requireExchangeRight(connection, 'write', alternate);
}

/** Unless undeclared ones are accepted, as the subtrees of their names. */
function requireExchange(channel: ChannelContext, name: string): void {
  const { host, settings } = channel.connection.shared;
  if (settings.undeclaredExchanges === 'refuse' && host.core.exchanges.get(name) === undefined) {
    throw channelError('not-found', explain.noExchange(name));
  }
}

function specFromDeclare(name: string, values: MethodArguments<'exchange.declare'>): ExchangeSpec {
  if (!TYPES.has(values.type)) {
    throw channelError('precondition-failed', `unknown exchange type '${values.type}'`);
  }
  return {
    name,
    type: values.type as ExchangeType,
    durable: values.durable,
    autoDelete: values.autoDelete,
    internal: values.internal,
    alternate: stringArgument(values.arguments, ALTERNATE, 'exchange', name),
    arguments: values.arguments,
  };
}

function compareExchange(existing: ExchangeSpec, spec: ExchangeSpec): void {
  if (existing.type !== spec.type) throw inequivalent('type', spec.name, spec.type, existing.type);
  for (const [name, field] of FLAGS) {
    if (existing[field] !== spec[field]) {
      throw inequivalent(name, spec.name, String(spec[field]), String(existing[field]));
    }
  }
  if (existing.alternate !== spec.alternate) {
    throw channelError(
      'precondition-failed',
      explain.inequivalent(
        ALTERNATE,
        'exchange',
        spec.name,
        describeValue(spec.arguments, ALTERNATE),
        describeValue(existing.arguments, ALTERNATE),
      ),
    );
  }
}

const FLAGS = [
  ['durable', 'durable'],
  ['auto_delete', 'autoDelete'],
  ['internal', 'internal'],
] as const;

function inequivalent(argument: string, name: string, received: string, current: string): Error {
  return channelError(
    'precondition-failed',
    explain.inequivalent(argument, 'exchange', name, `'${received}'`, `'${current}'`),
  );
}

function exchangeBinding(
  channel: ChannelContext,
  values: MethodArguments<'exchange.bind' | 'exchange.unbind'>,
): ExchangeBinding {
  refuseDefault(values.destination);
  return bindingFromMethod(
    channel,
    values.source,
    { kind: 'exchange', name: values.destination },
    values.routingKey,
    values.arguments,
  );
}

/** Also for queue.bind and queue.unbind. */
export function bindingFromMethod(
  channel: ChannelContext,
  exchange: string,
  target: ExchangeBinding['target'],
  routingKey: string,
  bindingArguments: readonly Header[],
): ExchangeBinding {
  refuseDefault(exchange);
  requireExchange(channel, exchange);
  const type = channel.connection.shared.host.core.exchanges.get(exchange)?.type ?? 'topic';
  requireBindingSource(channel.connection, exchange, type, routingKey);
  return {
    exchange,
    target,
    key: swapSeparators(routingKey),
    match: type === 'headers' ? matchFromArguments(bindingArguments) : null,
    arguments: bindingArguments,
  };
}

const MATCH_MODES: Readonly<Record<string, HeaderMatch['mode']>> = {
  all: 'all',
  any: 'any',
  'all-with-x': 'all-with-x',
  'any-with-x': 'any-with-x',
};

/** `x-match` says how, every other argument is a header to look for. */
function matchFromArguments(bindingArguments: readonly Header[]): HeaderMatch {
  const mode = bindingArguments.find((argument) => argument.name === 'x-match')?.value;
  const text = mode === undefined ? 'all' : mode.kind === 'string' ? mode.value : '';
  if (!Object.hasOwn(MATCH_MODES, text)) {
    throw channelError('precondition-failed', `invalid x-match field value '${text}'; expected all or any`);
  }
  return {
    mode: MATCH_MODES[text] as HeaderMatch['mode'],
    headers: bindingArguments.filter((argument) => argument.name !== 'x-match' && hasShortName(argument)),
  };
}
