/**
 * Declares the exchanges, queues and bindings that a bridge's options name, each time it connects, before anything is sent or
 * received. Called by `link.ts`. What exists otherwise than written is an error with the broker's text. A trial declares
 * nothing and only looks for what would have to be there.
 */

import type { Channel } from 'amqplib';
import type { LinkOptions } from '../../src/outside.ts';
import type { OutsideConnection } from './connection.ts';
import { linkErrorFrom } from './errors.ts';
import type { Declarations } from './settings.ts';

export async function declareTopology(
  connection: OutsideConnection,
  { exchanges, queues }: Declarations,
  logger: LinkOptions['logger'],
): Promise<void> {
  if (exchanges.length === 0 && queues.length === 0) return;
  await onChannel(connection, logger, async (channel, about) => {
    for (const { name, type, durable, autoDelete, arguments: table } of exchanges) {
      about(`exchange ${JSON.stringify(name)}`);
      await channel.assertExchange(name, type, { durable, autoDelete, arguments: table });
    }
    for (const { name, durable, autoDelete, arguments: table, bind } of queues) {
      about(`queue ${JSON.stringify(name)}`);
      await channel.assertQueue(name, { durable, autoDelete, arguments: table });
      for (const { exchange, key, arguments: terms } of bind) {
        about(`binding of queue ${JSON.stringify(name)} to exchange ${JSON.stringify(exchange)}`);
        await channel.bindQueue(name, exchange, key, terms);
      }
    }
  });
}

/** Whether the exchanges are there that queues would be bound to, and that would not be declared. */
export async function checkTopology(
  connection: OutsideConnection,
  { exchanges, queues }: Declarations,
  logger: LinkOptions['logger'],
): Promise<void> {
  const declared = new Set(exchanges.map(({ name }) => name));
  const bound = new Set(queues.flatMap(({ bind }) => bind.map(({ exchange }) => exchange)));
  const needed = [...bound].filter((name) => name !== '' && !declared.has(name));
  if (needed.length === 0) return;
  await onChannel(connection, logger, async (channel, about) => {
    for (const name of needed) {
      about(`exchange ${JSON.stringify(name)}`);
      await channel.checkExchange(name);
    }
  });
}

/** `about`: what is asked for next, for the error. */
async function onChannel(
  connection: OutsideConnection,
  logger: LinkOptions['logger'],
  ask: (channel: Channel, about: (text: string) => void) => Promise<void>,
): Promise<void> {
  const channel = await connection.model.createChannel();
  // What failed rejects with the same text.
  channel.on('error', (error) => logger.debug({ error: error.message }, 'the broker closed the channel'));
  let current = '';
  try {
    await ask(channel, (text) => {
      current = text;
    });
    await channel.close();
  } catch (error) {
    throw linkErrorFrom(error, current);
  }
}
