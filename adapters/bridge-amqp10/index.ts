/**
 * The driver of bridges to outside brokers of AMQP 1.0: Artemis, ActiveMQ, Azure Service Bus, RabbitMQ 4. `src/bridges` opens a
 * link for each bridge. The client library, rhea, is loaded with the first of them.
 */

import type { BridgeDriver } from '../../src/outside.ts';
import {
  ADDRESS_CHARS_MAX,
  connectionSettings,
  inSettings,
  type OutOptions,
  outSettings,
} from './settings.ts';

export function createAmqp10BridgeDriver(): BridgeDriver {
  return {
    type: 'amqp10',
    connectionSchema: connectionSettings,
    optionsSchema: { out: outSettings, in: inSettings },
    deliveries: { out: ['at-most-once', 'at-least-once'], in: ['at-most-once', 'at-least-once'] },
    // Each broker has wildcards of its own, or none: only an address without any is the same to all.
    sourceFrom: (pattern) => (/[+#]/.test(pattern) ? null : pattern),
    checkSource(source) {
      if (source === '') throw new Error('the address of a source cannot be empty');
      if (source.length > ADDRESS_CHARS_MAX) {
        throw new Error(`the address of a source has at most ${ADDRESS_CHARS_MAX} characters`);
      }
    },
    // Where a node takes everything, another may be read from, under the same addresses.
    comesBackAs: (address, options) => ((options as OutOptions).target === '' ? address : null),
    async open(options) {
      const { openLink } = await import('./link.ts');
      return await openLink(options);
    },
  };
}
