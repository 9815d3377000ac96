/**
 * What each method asks of the access rules, as RabbitMQ's three permissions: configure what is named, write to it,
 * read from it. A queue is its address under `$queue`, an exchange the subtree of its name. Called by the handlers
 * before they change anything, and by consumers for each delivery. A queue whose name this server chose for one
 * connection is that client's own: nobody else could use it, and nothing is asked. The table stands in
 * docs/operations.md.
 */

import { addressFromAmqp091, addressFromReplyTo } from '../../mappings/amqp091.ts';
import {
  type Action,
  type ExchangeType,
  escapeLevel,
  exchangeAddress,
  isReplyAddress,
  LastAnswer,
  MANY,
  ONE,
  Pattern,
  type Principal,
  QUEUE_ROOT,
  type QueueSpec,
  queueAddress,
  queueNameFromAddress,
  ROOT_EXCHANGE,
  swapSeparators,
  type Token,
} from '../../src/core/index.ts';
import type { ConnectionContext } from './context.ts';
import { channelError, explain } from './errors.ts';
import { isReplyQueue } from './handlers/direct-reply.ts';

export const SERVER_NAME_PREFIX = 'amq.gen-';

type Right = 'configure' | 'write' | 'read';

const ACTION: Readonly<Record<Right, Action>> = { configure: 'configure', write: 'publish', read: 'read' };

/** All throw 403 where the client's user may not do this. */
export function requireQueue(connection: ConnectionContext, right: Right, spec: QueueName): void {
  if (isOwnQueue(connection, spec)) return;
  const { access } = connection.shared.host.core;
  if (!access.may(principalOf(connection), ACTION[right], queueAddress(spec.name))) {
    refuse(connection, right, 'queue', spec.name);
  }
}

/** `configure`: of the exchange itself. Else of everything that is published to it. */
export function requireExchangeRight(connection: ConnectionContext, right: Right, name: string): void {
  const { access } = connection.shared.host.core;
  const principal = principalOf(connection);
  const allowed =
    right === 'configure'
      ? access.may(principal, ACTION[right], addressFromAmqp091(name, ''))
      : access.mayAll(principal, ACTION[right], new Pattern([...rootOf(name), MANY]));
  if (!allowed) refuse(connection, right, 'exchange', name);
}

/** What a binding takes from its source. */
export function requireBindingSource(
  connection: ConnectionContext,
  exchange: string,
  type: ExchangeType,
  routingKey: string,
): void {
  const { access } = connection.shared.host.core;
  if (!access.mayAll(principalOf(connection), 'read', bindingPattern(exchange, type, routingKey))) {
    refuse(connection, 'read', 'exchange', exchange);
  }
}

/** Where a queue sends what nobody consumed; without a key of its own, to the key that the message had. */
export function requireDeadLetter(
  connection: ConnectionContext,
  { exchange, key }: NonNullable<QueueSpec['deadLetter']>,
): void {
  const { access } = connection.shared.host.core;
  if (key === null) requireExchangeRight(connection, 'write', exchange);
  else if (!access.may(principalOf(connection), 'publish', exchangeAddress(exchange, key))) {
    refuse(connection, 'write', 'exchange', exchange);
  }
}

/** Asked for each delivery from this queue; null where nothing is asked. */
export function readingRight(connection: ConnectionContext, spec: QueueName): LastAnswer | null {
  return isOwnQueue(connection, spec) ? null : new LastAnswer(connection.shared.host.core.access, 'read');
}

/**
 * Whether the right to answer goes with a request of this client: where it may itself publish to `replyTo`, or that is
 * a queue of its own connection.
 */
export function lendsReply(connection: ConnectionContext, replyTo: string): boolean {
  const { access, queues, replies } = connection.shared.host.core;
  if (access.unrestricted) return true;
  const address = addressFromReplyTo(replyTo);
  // A token says itself what it lends, and a header may say what it stands for.
  if (isReplyAddress(address)) return false;
  const queue = queueNameFromAddress(address);
  if (queue !== null && queues.get(queue)?.spec.owner === connection) return true;
  return replies.mayLend(principalOf(connection), address);
}

interface QueueName {
  readonly name: string;
  readonly owner: object | null;
}

function isOwnQueue(connection: ConnectionContext, { name, owner }: QueueName): boolean {
  return owner === connection && (name.startsWith(SERVER_NAME_PREFIX) || isReplyQueue(name));
}

function principalOf(connection: ConnectionContext): Principal {
  return connection.principal as Principal;
}

function refuse(
  connection: ConnectionContext,
  right: Right,
  kind: 'queue' | 'exchange',
  name: string,
): never {
  throw channelError('access-refused', explain.refused(right, kind, name, principalOf(connection).user));
}

function rootOf(exchange: string): readonly string[] {
  if (exchange === '') return [QUEUE_ROOT];
  return exchange === ROOT_EXCHANGE ? [] : [escapeLevel(exchange)];
}

/** What the core routes by such a binding, as long as the exchange has this type. */
function bindingPattern(exchange: string, type: ExchangeType, routingKey: string): Pattern {
  const root = rootOf(exchange);
  if (type === 'fanout' || type === 'headers') return new Pattern([...root, MANY]);
  const key = swapSeparators(routingKey);
  if (key === '' && root.length > 0) return new Pattern(root);
  const levels = key.split('/');
  if (type === 'direct') return new Pattern([...root, ...levels]);
  const tokens = levels.map((level): Token => (level === '*' ? ONE : level === '#' ? MANY : level));
  return new Pattern([...root, ...tokens]);
}
