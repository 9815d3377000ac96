/** Messages as records and back: what a plain consumer reads, what returns exactly, what costs nothing. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kafkaRecordCodec, recordCodec } from '../../../mappings/kafka.ts';
import { type HeaderValue, Message, type Properties, type StreamRecord } from '../../../src/core/index.ts';
import { headers as anyHeaders, scalar, text } from '../mappings/arbitraries.ts';

const { recordFromMessage, messageFromRecord } = recordCodec;
const string = (value: string): HeaderValue => ({ kind: 'string', value });

const message = (fields: Partial<ConstructorParameters<typeof Message>[0]> = {}): Message =>
  new Message({
    address: 'sensors/t',
    body: Buffer.from('22.5'),
    reliability: 1,
    timestampMs: 1_700_000_000_000,
    ...fields,
  });

const texts = (record: StreamRecord): string[] =>
  record.headers.map(
    ({ name, value }) => `${name}=${value === null ? 'null' : Buffer.from(value).toString()}`,
  );

describe('a message without properties', () => {
  it('becomes a record without headers, and shares what it can', () => {
    const plain = message();
    const record = recordFromMessage(plain, 'sensors.t', null);
    expect(record).toEqual({ key: null, value: plain.body, headers: [], timestampMs: plain.timestampMs });
    expect(record.value).toBe(plain.body);
    expect(recordFromMessage(message(), 'sensors.t', null).headers).toBe(record.headers);
  });

  it.each([
    [{ reliability: 0 as const }, ['x-gw-qos=0']],
    [{ reliability: 2 as const }, ['x-gw-qos=2']],
    [{ retain: true }, ['x-mqtt-retain=1']],
    [{ priority: 7 }, ['priority=7']],
    [{ expiresAtMs: 1_700_000_000_500 }, ['x-gw-expires-at=1700000000500']],
    [{ address: 'a.b/ü' }, ['x-gw-address=a.b/ü']],
  ])('says %j in a header', (fields, headers) => {
    expect(texts(recordFromMessage(message(fields), 'sensors.t', null))).toEqual(headers);
  });

  it('keeps its own key where a rule gives another', () => {
    const keyed = message({ key: Buffer.from('own') });
    expect(recordFromMessage(keyed, 'sensors.t', null).key).toEqual(Buffer.from('own'));
    const ruled = recordFromMessage(keyed, 'sensors.t', Buffer.from('d7'));
    expect(ruled.key).toEqual(Buffer.from('d7'));
    expect(texts(ruled)).toEqual(['x-gw-key=own']);
  });

  it('without a body has no value', () => {
    expect(recordFromMessage(message({ nullBody: true }), 'sensors.t', null).value).toBeNull();
    const back = messageFromRecord({ key: null, value: null, headers: [], timestampMs: 5 }, 'a');
    expect(back.nullBody).toBe(true);
    expect(back.body.length).toBe(0);
  });
});

describe('properties', () => {
  it('are readable headers under the names of the property table', () => {
    const properties: Properties = {
      contentType: 'text/plain',
      textBody: true,
      correlation: { kind: 'bytes', value: Buffer.from([0, 1, 255]) },
      replyTo: 'answers/here',
      timestampMs: 1_600_000_000_000,
      headers: [
        { name: 'n', value: { kind: 'i32', value: 42 } },
        { name: 'n', value: string('two') },
      ],
    };
    const record = recordFromMessage(message({ properties }), 'sensors.t', null);
    expect(record.timestampMs).toBe(1_600_000_000_000);
    expect(record.headers.find(({ name }) => name === 'correlation-id')?.value).toEqual(
      Buffer.from([0, 1, 255]),
    );
    expect(texts(record).filter((each) => !each.startsWith('correlation'))).toEqual([
      'content-type=text/plain',
      'x-gw-pfi=1',
      'reply-to=answers.here',
      'n=42',
      'n=two',
      'x-gw-types=n=i32',
    ]);
  });

  it('of any kind return exactly', () => {
    const optionalText = fc.option(text(), { nil: undefined });
    const arbitrary = fc.record({
      contentType: optionalText,
      contentEncoding: optionalText,
      textBody: fc.option(fc.boolean(), { nil: undefined }),
      correlation: fc.option(scalar, { nil: undefined }),
      replyTo: optionalText,
      messageId: fc.option(scalar, { nil: undefined }),
      type: optionalText,
      subject: optionalText,
      appId: optionalText,
      groupId: optionalText,
      groupSequence: fc.option(fc.nat(), { nil: undefined }),
      headers: anyHeaders,
    });
    fc.assert(
      fc.property(
        arbitrary,
        fc.constantFrom(0, 1, 2),
        fc.boolean(),
        fc.nat({ max: 255 }),
        (drawn, reliability, retain, priority) => {
          const properties: Properties = { headers: [] };
          for (const [name, value] of Object.entries(drawn))
            if (value !== undefined) Object.assign(properties, { [name]: value });
          const sent = message({
            properties,
            reliability: reliability as 0 | 1 | 2,
            retain,
            priority,
            expiresAtMs: 1_800_000_000_000,
          });
          const record = recordFromMessage(sent, 'sensors.t', null);
          const back = messageFromRecord(record, 'sensors/t');
          const plain = (each: object) =>
            JSON.stringify(each, (_, value) => {
              if (typeof value === 'bigint') return `${value}n`;
              if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
              if (Object.is(value, -0)) return '-0';
              return value?.type === 'Buffer' ? value.data : value instanceof Uint8Array ? [...value] : value;
            });
          const { timestampMs, ...returned } = back.properties;
          expect(timestampMs).toBe(sent.timestampMs);
          const inOrder = Object.fromEntries(Object.entries(returned).sort());
          expect(plain(inOrder)).toBe(plain(Object.fromEntries(Object.entries(properties).sort())));
          expect([back.reliability, back.retain, back.priority, back.expiresAtMs]).toEqual([
            reliability,
            retain,
            priority,
            1_800_000_000_000,
          ]);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('a record', () => {
  const record: StreamRecord = {
    key: Buffer.from('k'),
    value: Buffer.from('v'),
    headers: [
      { name: 'a', value: Buffer.from('1') },
      { name: 'a', value: null },
      { name: 'raw', value: Buffer.from([0xff]) },
      { name: 'priority', value: Buffer.from('high') },
    ],
    timestampMs: 123,
  };

  it('becomes a message with typed headers, key and timestamp', () => {
    const back = messageFromRecord(record, 'alerts/fire');
    expect(back).toMatchObject({
      address: 'alerts/fire',
      reliability: 1,
      timestampMs: 123,
      priority: 0,
      codec: kafkaRecordCodec,
    });
    expect(back.properties).toEqual({
      timestampMs: 123,
      headers: [
        { name: 'priority', value: string('high') },
        { name: 'a', value: string('1') },
        { name: 'a', value: { kind: 'null' } },
        { name: 'raw', value: { kind: 'bytes', value: Buffer.from([0xff]) } },
      ],
    });
  });

  it('captured by another stream keeps its headers as they are', () => {
    const captured = recordFromMessage(messageFromRecord(record, 'alerts/fire'), 'others', null);
    expect(captured.headers.slice(0, 3)).toEqual(record.headers.slice(0, 3));
    expect(captured.timestampMs).toBe(123);
    expect(captured.headers.at(-1)).toEqual({ name: 'x-gw-address', value: Buffer.from('alerts/fire') });
  });

  it('cannot forge what the gateway stamps', () => {
    const forged = {
      ...record,
      headers: ['x-gw-address', 'X-GW-User', 'x-gw-client-id'].map((name) => ({
        name,
        value: Buffer.from('me'),
      })),
    };
    const back = messageFromRecord(forged, 'alerts/fire');
    expect(back.address).toBe('alerts/fire');
    expect(back.properties.userId).toBeUndefined();
    expect(texts(recordFromMessage(back, 'alerts.fire', null))).toEqual([]);
  });

  it('is read without complaint whatever its stored bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        expect(Array.isArray(kafkaRecordCodec.decode(bytes).headers)).toBe(true);
      }),
    );
  });
});
