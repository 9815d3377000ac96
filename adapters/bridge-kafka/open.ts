/** Opens links: loaded by the driver with the first of them, and with it the client library. */

import type { AddressTurns, BridgeLink, LinkOptions } from '../../src/outside.ts';
import { InLink } from './in-link.ts';
import { OutLink } from './out-link.ts';
import type { ConnectionSettings } from './settings.ts';
import { TransactionalSending } from './transactions.ts';

export function openLink(options: LinkOptions, turns: AddressTurns): Promise<BridgeLink> {
  const connection = options.connection as ConnectionSettings;
  if (options.direction === 'in') return InLink.open(options, turns);
  return OutLink.open(
    options,
    turns,
    options.delivery === 'exactly-once'
      ? (batcher, name) => new TransactionalSending(batcher, name, connection)
      : null,
  );
}
