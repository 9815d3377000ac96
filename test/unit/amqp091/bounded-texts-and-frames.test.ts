import { expect, test } from 'vitest';
import { WireCursor } from '../../../adapters/amqp091/codec/wire-content.ts';
import { replyText } from '../../../adapters/amqp091/errors.ts';
import {
  decodeTable,
  encodeContent,
  encodeTable,
  expirationMsFromText,
  extrasFromNative,
  LONG_ADDRESS_KEY,
  messageFromAmqp091,
  nativeFromParts,
} from '../../../mappings/amqp091.ts';
import { NO_REPLIES } from '../../support/doors.ts';

test('a message goes to a connection with small frames after one with large frames', () => {
  const headers = [{ name: 'long', value: { kind: 'string', value: 'x'.repeat(10_000) } }] as const;
  const native = nativeFromParts('e', 'k', encodeContent({ headers, messageId: '1' }));
  const message = messageFromAmqp091(native, Buffer.alloc(0), 0);
  const cursor = new WireCursor();
  for (const frameBytesMax of [131_072, 4096, 131_072]) {
    const { content, contentAt } = cursor.load(message, null, 0, frameBytesMax, NO_REPLIES);
    expect(content.length - contentAt + 12 + 8).toBeLessThanOrEqual(frameBytesMax);
  }
});

test.each(['x', 'ä', '😀'])('a reply text with a million %s is cut at once, and stays text', (letter) => {
  const text = replyText('precondition-failed', letter.repeat(1_000_000));
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(255);
  expect(Buffer.byteLength(text)).toBeGreaterThan(200);
  expect(text.isWellFormed()).toBe(true);
});

test.each([999_999, -999_999])('a decimal of scale %i does not become a megabyte', (scale) => {
  const table = encodeTable([{ name: 'd', value: { kind: 'decimal', scale, value: 5n } }]);
  expect(table.length).toBeLessThan(100);
  expect(decodeTable(table, 4, table.length)).toEqual([
    { name: 'd', value: { kind: 'string', value: `5e${-scale}` } },
  ]);
});

test('an expiration of 0 has not expired before the message came', () => {
  expect(expirationMsFromText('0')).toBe(1);
  expect(expirationMsFromText('5')).toBe(5);
  expect(expirationMsFromText('-1')).toBe(-1);
});

test('no header brings an address with U+0000', () => {
  const headers = [{ name: 'x-gw-address', value: { kind: 'string', value: 'a\0b' } }] as const;
  const native = nativeFromParts('amq.topic', LONG_ADDRESS_KEY, encodeContent({ headers }));
  expect(extrasFromNative(native, false).address).toBeUndefined();
});
