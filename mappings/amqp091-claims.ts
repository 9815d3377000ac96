/**
 * Takes out of a published message the headers that are the gateway's to write: with them a publisher could claim to be
 * somebody else, or to have come another way. Headers under reserved names by which a message only describes itself,
 * as a delivery showed it, stay. Called by the adapter for messages that have any header of such a name; pure. The
 * fields that stay keep their bytes.
 */

import { Buffer } from 'node:buffer';
import { Amqp091Header } from './amqp091-properties.ts';
import { scanTable } from './amqp091-table.ts';
import { GatewayHeader, isReservedName } from './header-values.ts';

const DESCRIPTIVE_NAMES: ReadonlySet<string> = new Set([
  ...Object.values(Amqp091Header),
  GatewayHeader.types,
  GatewayHeader.key,
  GatewayHeader.qos,
  GatewayHeader.nullBody,
  GatewayHeader.textBody,
  GatewayHeader.contentType,
  GatewayHeader.overflow,
  GatewayHeader.bodyForm,
]);

const CONTENT_TYPE_FLAG = 1 << 15;
const CONTENT_ENCODING_FLAG = 1 << 14;
const HEADERS_FLAG = 1 << 13;

/**
 * `native` is a message's route and properties, which were scanned; `contentAt` is where the properties begin.
 * `longRoute`: its key says that the address is in a header, which then stays. Itself where there is nothing to take.
 */
export function withoutClaims(native: Buffer, contentAt: number, longRoute: boolean): Buffer {
  const flags = native.readUInt16BE(contentAt);
  if ((flags & HEADERS_FLAG) === 0) return native;
  let tableAt = contentAt + 2;
  if ((flags & CONTENT_TYPE_FLAG) !== 0) tableAt += 1 + native.readUInt8(tableAt);
  if ((flags & CONTENT_ENCODING_FLAG) !== 0) tableAt += 1 + native.readUInt8(tableAt);
  const end = tableAt + 4 + native.readUInt32BE(tableAt);
  const starts: number[] = [];
  const claims: boolean[] = [];
  let found = false;
  scanTable(native, tableAt + 4, end, (bytes, nameStart, nameEnd) => {
    const name = bytes.toString('utf8', nameStart, nameEnd);
    const stays = DESCRIPTIVE_NAMES.has(name) || (longRoute && name === GatewayHeader.address);
    const claim = isReservedName(name) && !stays;
    found ||= claim;
    starts.push(nameStart - 1);
    claims.push(claim);
  });
  if (!found) return native;
  starts.push(end);
  const fields = claims.flatMap((claim, at) =>
    claim ? [] : [native.subarray(starts[at] as number, starts[at + 1] as number)],
  );
  const length = Buffer.alloc(4);
  length.writeUInt32BE(fields.reduce((sum, field) => sum + field.length, 0));
  return Buffer.concat([native.subarray(0, tableAt), length, ...fields, native.subarray(end)]);
}
