/**
 * Where a bridge out publishes: exchange and key of an address, by its option `exchange`, and the address that a message
 * published so has when a bridge reads it back. Called for each message; loads no client library. Pure.
 */

import { type Amqp091Route, addressFromAmqp091, amqp091FromAddress } from '../../mappings/amqp091.ts';
import { queueNameFromAddress, ROOT_EXCHANGE, swapSeparators } from '../../src/core/index.ts';
import { EXCHANGE_FROM_ADDRESS } from './settings.ts';

/** `exchange`: as in the bridge's options. */
export function routeOf(address: string, exchange: string): Amqp091Route {
  if (exchange === ROOT_EXCHANGE) return amqp091FromAddress(address, ROOT_EXCHANGE);
  if (exchange === EXCHANGE_FROM_ADDRESS) return amqp091FromAddress(address, null);
  if (exchange === '') {
    return { exchange, key: queueNameFromAddress(address) ?? swapSeparators(address), long: false };
  }
  return { exchange, key: swapSeparators(address), long: false };
}

/** Of a message that is sent to `address`. Its consumers may also take the name of their queue, which nobody knows here. */
export function addressBack(address: string, exchange: string): string {
  const route = routeOf(address, exchange);
  return route.long ? address : addressFromAmqp091(route.exchange, route.key);
}
