/**
 * The driver of bridges to outside brokers of AMQP 0-9-1: RabbitMQ, LavinMQ, and gateways like this one. `src/bridges` opens
 * a link for each bridge. The client library, amqplib, is loaded with the first of them.
 */

import { Buffer } from 'node:buffer';
import { AddressTurns, type BridgeDriver } from '../../src/outside.ts';
import { addressBack } from './routes.ts';
import { connectionSettings, inSettings, NAME_BYTES_MAX, type OutOptions, outSettings } from './settings.ts';

export function createAmqp091BridgeDriver(): BridgeDriver {
  const turns = new AddressTurns();
  return {
    type: 'amqp091',
    connectionSchema: connectionSettings,
    optionsSchema: { out: outSettings, in: inSettings },
    deliveries: { out: ['at-most-once', 'at-least-once'], in: ['at-most-once', 'at-least-once'] },
    // Which queue holds the messages of a pattern only its owner knows.
    sourceFrom: () => null,
    checkSource(source) {
      if (source === '') throw new Error('the name of a queue cannot be empty');
      if (Buffer.byteLength(source) > NAME_BYTES_MAX) {
        throw new Error(`the name of a queue has at most ${NAME_BYTES_MAX} bytes`);
      }
    },
    comesBackAs: (address, options) => addressBack(address, (options as OutOptions).exchange),
    async open(options) {
      const { openLink } = await import('./link.ts');
      return await openLink(options, turns);
    },
  };
}
