/**
 * The way of a message from one queue back to where it came from, made for dead letters: it goes to the queue in which it
 * first died, or the buffer of the bridge that gave it up, under the name that it had there, or is published again where a
 * mapping could not lead it on. Called by `queue-message-routes.ts`. It is in one of the two queues whatever
 * fails: nothing here leaves it taken and unsettled, and nothing waits between its arrival there and its removal here.
 */

import {
  bridgeOfBuffer,
  type Core,
  CoreError,
  type DeathOrigin,
  type Message,
  originOfDeath,
  PLAIN_DELIVERY,
  type Queue,
} from '../core/index.ts';
import { notFound, type Problem, problem, problemFromCore } from './problems.ts';

/** Where a message goes back to, and as what. */
export interface WayBack {
  /** A name: the queue may go, or another of its name come, before the message does. Null: it is published. */
  readonly queue: string | null;
  readonly message: Message;
  readonly via: string | null;
}

/** Throws a problem where it has no way back. */
export function wayBack(core: Core, message: Message, from: Queue, wanted: string | undefined): WayBack {
  const origin = originOfDeath(message);
  const queue = wanted ?? origin?.queue;
  if (queue === undefined) {
    throw problem('conflict', 'body', '/queue', `it is no dead letter: say by \`queue\` where it is to go`);
  }
  if (wanted === undefined && typeof origin?.cameInBy === 'string') {
    const text = `bridge ${origin.cameInBy} brought it in and could make nothing of it: say by \`queue\` where it is to go`;
    throw problem('conflict', 'body', '/queue', text);
  }
  if (queue === null) return { queue, message: (origin as DeathOrigin).message, via: null };
  const target = targetOf(core, queue);
  if (target === undefined) throw problem('conflict', 'body', '/queue', noQueue(queue));
  if (target === from) throw problem('conflict', 'body', '/queue', `it is in queue ${queue} already`);
  return { queue, message: origin?.message ?? message, via: origin?.via ?? null };
}

/** Returns why it stayed, or null where it went. What is not foreseen is thrown; the message stays then too. */
export async function redrive(
  core: Core,
  from: Queue,
  offset: number,
  { queue, message, via }: WayBack,
): Promise<Problem | null> {
  const delivery = await from.takeAt(offset);
  if (delivery === null) return nothingAt(from, offset);
  let isTaken = false;
  try {
    // Both in the turn of the settlement below, so in one commit with it.
    if (queue === null) {
      const said = core.announce(message);
      isTaken = said === 'taken';
      return isTaken ? null : problem('conflict', 'body', '/queue', REASONS[said](message.address));
    }
    const target = targetOf(core, queue);
    if (target === undefined) return problem('conflict', 'body', '/queue', noQueue(queue));
    isTaken = target.offer(message, { ...PLAIN_DELIVERY, via });
    return isTaken ? null : problem('limit-reached', 'body', '/queue', `queue ${queue} is full`);
  } catch (error) {
    if (!(error instanceof CoreError)) throw error;
    return problemFromCore(error);
  } finally {
    delivery.settle(isTaken ? 'accepted' : 'released');
  }
}

const REASONS = {
  taken: () => '',
  unwanted: (address: string) => `nobody and no mapping takes what is published to ${address}`,
  refused: (address: string) => `a queue for ${address} is full, or a mapping refuses it`,
};

function noQueue(name: string): string {
  const bridge = bridgeOfBuffer(name);
  const what = bridge === null ? `there is no queue ${name}` : `no bridge ${bridge} leads out any more`;
  return `${what}: say by \`queue\` where else it is to go`;
}

/** A queue, or the buffer of a bridge, which is none to anybody else. */
function targetOf(core: Core, name: string): Pick<Queue, 'offer'> | undefined {
  const bridge = bridgeOfBuffer(name);
  if (bridge === null) return core.queues.get(name);
  if (!core.outlets.has(bridge)) return undefined;
  return { offer: (message) => core.outlets.offer(bridge, message) };
}

export function nothingAt(queue: Queue, offset: number): Problem {
  return notFound('/offset', `nothing waits at ${offset} in queue ${queue.spec.name}`);
}
