/**
 * Declares the exchanges, queues and bindings that a bridge's options name, each time it connects, before anything is sent or
 * received. Called by `link.ts`. What exists otherwise than written is an error with the broker's text.
 */

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
  const channel = await connection.model.createChannel();
  // What failed rejects with the same text.
  channel.on('error', (error) => logger.debug({ error: error.message }, 'the broker closed the channel'));
  let current = '';
  try {
    for (const { name, type, durable, autoDelete, arguments: table } of exchanges) {
      current = `exchange ${JSON.stringify(name)}`;
      await channel.assertExchange(name, type, { durable, autoDelete, arguments: table });
    }
    for (const { name, durable, autoDelete, arguments: table, bind } of queues) {
      current = `queue ${JSON.stringify(name)}`;
      await channel.assertQueue(name, { durable, autoDelete, arguments: table });
      for (const binding of bind) {
        current = `binding of queue ${JSON.stringify(name)} to exchange ${JSON.stringify(binding.exchange)}`;
        await channel.bindQueue(name, binding.exchange, binding.key, binding.arguments);
      }
    }
    await channel.close();
  } catch (error) {
    throw linkErrorFrom(error, current);
  }
}
