/**
 * Bridges to and from outside Kafka brokers: Apache Kafka, Redpanda and others that speak its protocol. `src/main.ts` hands the
 * driver to the bridges. What needs the client library is loaded when the first link is opened, so that a gateway without such
 * a bridge pays nothing for it.
 */

import { AddressTurns, type BridgeDriver, type BridgeLink, type LinkOptions } from '../../src/outside.ts';
import { checkSource, sourceFromPattern } from './names.ts';
import { connectionSettings, inSettings, outSettings } from './settings.ts';

export function createKafkaBridgeDriver(): BridgeDriver {
  const turns = new AddressTurns();
  return {
    type: 'kafka',
    connectionSchema: connectionSettings,
    optionsSchema: { out: outSettings, in: inSettings },
    deliveries: {
      out: ['at-most-once', 'at-least-once', 'exactly-once'],
      in: ['at-least-once'],
    },
    sourceFrom: sourceFromPattern,
    checkSource,
    async open(options: LinkOptions): Promise<BridgeLink> {
      const { openLink } = await import('./open.ts');
      return openLink(options, turns);
    },
  };
}
