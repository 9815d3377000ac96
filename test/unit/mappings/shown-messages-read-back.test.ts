/** What the HTTP API shows of a message, it takes back: body, key, properties and headers of every kind. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type HttpMessage,
  jsonFromMessage,
  messageFromJson,
  patternFromFilter,
} from '../../../mappings/http.ts';
import { type Header, MANY, Message, ONE } from '../../../src/core/index.ts';
import { headerValue, text } from './arbitraries.ts';

const header: fc.Arbitrary<Header> = fc
  .tuple(text(), headerValue)
  .map(([name, value]) => ({ name, value }))
  .filter(({ name }) => !name.toLowerCase().startsWith('x-gw-'));

const message = fc
  .record({
    body: fc.oneof(
      fc.uint8Array({ maxLength: 20 }),
      text().map((each) => Buffer.from(each)),
    ),
    reliability: fc.constantFrom(0 as const, 1 as const, 2 as const),
    retain: fc.boolean(),
    priority: fc.integer({ min: 0, max: 255 }),
    key: fc.option(text().map((each) => Buffer.from(each))),
    contentType: fc.option(text(), { nil: undefined }),
    correlation: fc.option(headerValue, { nil: undefined }),
    headers: fc.array(header, { maxLength: 5 }),
  })
  .map(({ contentType, correlation, headers, ...fields }) => {
    const properties = {
      ...(contentType === undefined ? {} : { contentType }),
      ...(correlation === undefined ? {} : { correlation }),
      headers,
    };
    return new Message({ address: 'a/b', timestampMs: 1_000, ...fields, properties });
  });

it('every message', () => {
  fc.assert(
    fc.property(message, (sent) => {
      const shown = JSON.parse(JSON.stringify(jsonFromMessage(sent))) as HttpMessage &
        Record<string, unknown>;
      const { address, timestampMs, ...input } = shown;
      expect([address, timestampMs]).toEqual(['a/b', 1_000]);
      const back = messageFromJson(input as HttpMessage, 'a/b', 1_000);
      expect(Buffer.from(back.body)).toEqual(Buffer.from(sent.body));
      expect([back.reliability, back.retain, back.priority]).toEqual([
        sent.reliability,
        sent.retain,
        sent.priority,
      ]);
      expect(back.key === null ? null : Buffer.from(back.key)).toEqual(
        sent.key === null ? null : Buffer.from(sent.key),
      );
      expect(back.properties.contentType).toBe(sent.properties.contentType);
      expect(back.properties.correlation).toEqual(sent.properties.correlation);
      expect(back.properties.headers).toEqual(sent.properties.headers);
    }),
  );
});

describe('filters', () => {
  it.each([
    ['a/b', ['a', 'b']],
    ['+/b/#', [ONE, 'b', MANY]],
    ['a/#/c', ['a', MANY, 'c']],
    ['a+/b#', ['a+', 'b#']],
    ['/', ['', '']],
  ])('%s', (filter, tokens) => {
    expect(patternFromFilter(filter).tokens).toEqual(tokens);
  });

  it.each(['', 'a\u0000b'])('%j is none', (filter) => {
    expect(() => patternFromFilter(filter)).toThrow();
  });
});
