/** The codec of amqplib, an independent implementation to compare ours with. It is not exported: found by path. */

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

interface AmqplibMethod {
  readonly classId: number;
  readonly methodId: number;
  readonly name: string;
  readonly args: readonly { readonly type: string; readonly name: string }[];
}

interface AmqplibDefs {
  readonly [name: string]: unknown;
  decode(id: number, bytes: Buffer): Record<string, unknown>;
  encodeMethod(id: number, channel: number, fields: Record<string, unknown>): Buffer;
  encodeProperties(id: number, channel: number, size: number, fields: Record<string, unknown>): Buffer;
  info(id: number): AmqplibMethod;
}

const require = createRequire(import.meta.url);
export const amqplib = require(join(dirname(require.resolve('amqplib')), 'lib', 'defs.js')) as AmqplibDefs;

/** Id of the content header in amqplib's tables. */
export const BASIC_PROPERTIES = 60;

/** The fields of the definitions that are methods. */
export function amqplibMethods(): AmqplibMethod[] {
  return Object.entries(amqplib).flatMap(([name, id]) =>
    typeof id === 'number' && name !== 'FRAME_OVERHEAD' && name !== 'BasicProperties'
      ? [amqplib.info(id)]
      : [],
  );
}
