/** What a request's reply address and correlation look like in each protocol, and that answers find their way. */

import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressFromReplyTo,
  amqp091FromAddress,
  contentFromMessage,
  decodeContent,
  encodeContent,
  hasPlainReply,
  messageFromAmqp091,
  nativeFromParts,
  propertiesFromContent,
  replyToFromAddress,
} from '../../../mappings/amqp091.ts';
import {
  addressFromKafkaReplyTo,
  isTopicName,
  kafkaReplyToFromAddress,
  recordCodec,
} from '../../../mappings/kafka.ts';
import { mqtt5Codec, mqttPropertiesFromMessage } from '../../../mappings/mqtt.ts';
import type { HeaderValue, Message, Properties } from '../../../src/core/index.ts';
import { bodyOf, messageTo, openTestCore, queueSpec } from '../../support/core.ts';

const TOKEN = '$reply/AbC-_9'.padEnd(60, 'x');
const BYTES: HeaderValue = { kind: 'bytes', value: Buffer.from([255, 0]) };

function requestWith(properties: Partial<Properties>): Message {
  return messageTo('rpc/add', '?', { properties: { headers: [], ...properties } });
}

describe('AMQP 0-9-1', () => {
  it('a token is a key of the default exchange, and no queue has its name', () => {
    const name = replyToFromAddress(TOKEN) as string;
    expect(name).toBe(`amq.gw.reply.${TOKEN.slice('$reply/'.length)}`);
    expect(addressFromReplyTo(name)).toBe(TOKEN);
    const queue = amqp091FromAddress(`$queue/${name}`, null);
    expect(queue.exchange).not.toBe('');
  });

  it('a server gets a correlation-id that it can copy, and headers say what it stands for', () => {
    const request = requestWith({ replyTo: 'clients/7', correlation: BYTES });
    const content = decodeContent(contentFromMessage(request, false, 0, 10_000, TOKEN));
    expect(content.replyTo).toBe(replyToFromAddress(TOKEN));
    expect(content.correlationId).toBe(TOKEN.slice(-22));
    // Whoever passes the request on passes on the requester's own.
    expect(propertiesFromContent(content)).toMatchObject({ replyTo: 'clients/7', correlation: BYTES });
  });

  it('a queue’s name with text needs no token', () => {
    const text: HeaderValue = { kind: 'string', value: 'c' };
    expect(hasPlainReply(requestWith({ correlation: BYTES }).properties)).toBe(true);
    expect(hasPlainReply(requestWith({ replyTo: '$queue/q', correlation: text }).properties)).toBe(true);
    expect(hasPlainReply(requestWith({ replyTo: '$queue/q', correlation: BYTES }).properties)).toBe(false);
    expect(hasPlainReply(requestWith({ replyTo: 'clients/7' }).properties)).toBe(false);
    expect(hasPlainReply(requestWith({ replyTo: TOKEN, correlation: BYTES }).properties)).toBe(true);
  });

  it('a correlation-id that is no UTF-8 comes back in its field, byte for byte', async () => {
    const { core } = await openTestCore({ core: { randomBytes } });
    const queue = await core.queues.declare(queueSpec({ name: 'mine' }));
    const correlationId = Buffer.from([0xff, 0xfe, 0x41]);
    const native = nativeFromParts('rpc', 'add', encodeContent({ correlationId, replyTo: 'mine' }));
    const address = core.replies.addressFor(messageFromAmqp091(native, Buffer.from('?'), 0)) as string;
    const publisher = core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested() {},
    });
    publisher.publish(messageTo(address, 'answer'), null, 0);
    const delivery = await queue.take(true);
    const answer = delivery?.message as Message;
    expect(bodyOf(answer)).toBe('answer');
    const content = decodeContent(contentFromMessage(answer, false, 0, 10_000));
    expect(content.correlationId).toEqual(correlationId);
    expect(content.headers).toBeUndefined();
  });
});

describe('MQTT 5', () => {
  it('a token is the response topic; the correlation stays as it is', () => {
    const request = requestWith({ replyTo: '$queue/mine', correlation: { kind: 'string', value: 'c' } });
    const shown = mqtt5Codec.decode(mqttPropertiesFromMessage(request, TOKEN));
    expect(shown).toMatchObject({
      replyTo: TOKEN,
      correlation: { kind: 'string', value: 'c' },
    });
  });
});

describe('Kafka', () => {
  it('a record’s request lends nothing: who produced it is not known any more', () => {
    const headers = [{ name: 'reply-to', value: Buffer.from('answers') }];
    const record = { key: null, value: Buffer.from('?'), headers, timestampMs: 1 };
    const request = recordCodec.messageFromRecord(record, 'rpc');
    expect(request.properties.replyTo).toBe('answers');
    expect(request.replyLent).toBe(false);
  });

  it('a reply-to is the name of a topic where there is one, and leads back for every address', () => {
    expect(kafkaReplyToFromAddress('clients/k/replies')).toBe('clients.k.replies');
    expect(addressFromKafkaReplyTo('clients.k.replies')).toBe('clients/k/replies');
    // As somebody may write it who knows addresses.
    expect(addressFromKafkaReplyTo('clients/k.1/replies')).toBe('clients/k.1/replies');
    const address = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 300 }),
      fc.array(fc.constantFrom('/', '.', '-x', '-x2E', 'a', 'é', '\u0000', 'address:'), { maxLength: 150 }),
    );
    fc.assert(
      fc.property(
        address.map((each) => (Array.isArray(each) ? each.join('') : each)),
        (each) => {
          const name = kafkaReplyToFromAddress(each);
          expect(addressFromKafkaReplyTo(name)).toBe(each);
          expect(isTopicName(name) || name.startsWith('address:')).toBe(true);
        },
      ),
    );
  });
});
