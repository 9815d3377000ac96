/**
 * Durable queues by their address, as clients of other protocols name them: publishing with a key `$queue/<queue>/…` on
 * the default exchange makes the queue where there is none, and consuming `$queue/<queue>/<filter>`, or any queue with
 * the argument `x-consumer-group`, joins a group of it. Rules: docs/queues.md.
 */

import {
  CoreError,
  MANY,
  ONE,
  type Queue,
  type QueueGroup,
  queueNameFromAddress,
  type Token,
} from '../../../src/core/index.ts';
import type { MethodArguments } from '../codec/methods.ts';
import type { ChannelContext } from '../context.ts';
import { channelError } from '../errors.ts';
import { requireQueue } from '../rights.ts';
import { stringArgument } from './arguments.ts';

const GROUP_ARGUMENT = 'x-consumer-group';
const QUEUE_PREFIX = '$queue/';

/** What basic.consume asks for of a queue. */
export interface Wanted {
  readonly queue: string;
  /** Empty: none was named. */
  readonly group: string;
  readonly filter: readonly Token[];
}

/** A key that says itself that it is a queue's address. */
export function namesQueueAddress(key: string): boolean {
  return key.startsWith(QUEUE_PREFIX);
}

/** What basic.consume names, or null where it is a queue by its name and nothing else. */
export function wantedFromConsume(values: MethodArguments<'basic.consume'>): Wanted | null {
  const { queue: text } = values;
  const group = stringArgument(values.arguments, GROUP_ARGUMENT, 'queue', text) ?? '';
  if (!namesQueueAddress(text)) return group === '' ? null : { queue: text, group, filter: [MANY] };
  const [, level = '', ...levels] = text.split('/');
  const queue = queueNameFromAddress(QUEUE_PREFIX + level);
  if (queue === null || queue.includes('#') || queue.includes('+')) {
    throw channelError('precondition-failed', `'${text}' names no queue`);
  }
  const filter = levels.length === 0 ? [MANY as Token] : levels.map(tokenOf);
  const isEverything = filter.length === 1 && filter[0] === MANY;
  if (group === '' && !isEverything) {
    throw channelError(
      'precondition-failed',
      `'${text}' has a filter, which needs the argument '${GROUP_ARGUMENT}'`,
    );
  }
  return { queue, group, filter };
}

/** Filters are written as where the address is: `+` for one level and `#` for many; `*` is one too. */
function tokenOf(level: string): Token {
  return level === '#' ? MANY : level === '+' || level === '*' ? ONE : level;
}

/** The queue of that name, made durable where there is none and the user may. */
export function provideQueue(channel: ChannelContext, name: string): Queue {
  const { queues } = channel.connection.shared.host.core;
  const existing = queues.get(name);
  if (existing !== undefined) return existing;
  requireQueue(channel.connection, 'configure', { name, owner: null });
  return refusing(() => queues.provide(name));
}

/** The group that is wanted of the queue. */
export function groupOf(queue: Queue, wanted: Wanted): QueueGroup {
  return refusing(() => queue.group(wanted.group, wanted.filter));
}

function refusing<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof CoreError)) throw error;
    throw channelError('precondition-failed', error.message);
  }
}
