/**
 * How each protocol names an address and shows a message, as JSON for people: what `/v1/explain` and
 * `/v1/mappings:test` answer. Each view takes a message the way in and out that its adapter takes, so that what is
 * shown is what a client would get. Gathered here because the API's own code knows no protocol. Pure.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import { CoreError, type Message, ROOT_EXCHANGE, type StreamRecord } from '../src/core/index.ts';
import {
  addressFromAmqp091,
  amqp091FromAddress,
  amqp091FromMessage,
  decodeContent,
  exchangeOfNative,
  keyOfNative,
  messageFromAmqp091,
  SHORT_STRING_BYTES_MAX,
} from './amqp091.ts';
import { base64FromBytes, jsonFromValue } from './header-values.ts';
import { addressFromKafka, isDigestName, isTopicName, kafkaFromAddress, recordCodec } from './kafka.ts';
import {
  addressFromTopic,
  MessageProperty,
  messageFromMqtt,
  mqttPropertiesFromMessage,
  PROPERTY_BY_ID,
  topicFromAddress,
} from './mqtt.ts';

/** As `ProtocolView` of the API wants it. */
interface View {
  readonly protocol: string;
  readonly readsStreams: boolean;
  addressFromName(name: string, exchange: string | undefined): string;
  nameFromAddress(address: string): {
    readonly name: Readonly<Record<string, string>>;
    readonly reason: string;
  };
  received(message: Message, nowMs: number): Message;
  shown(message: Message, placements: readonly Placed[], nowMs: number): unknown;
}

interface Placed {
  readonly stream: string;
  readonly key: Uint8Array | null;
}

/** Room of one frame of the default size, for the properties of a message. */
const CONTENT_BYTES_MAX = 131_064;
const TOPIC_BYTES_MAX = 65_535;

function refuse(field: string, reason: string): never {
  throw new CoreError('invalid-name', reason, { field });
}

/** Text where the bytes are text, so that people can read it. */
function jsonFromBytes(bytes: Uint8Array): string | { readonly base64: string } {
  return isUtf8(bytes) ? Buffer.from(bytes).toString() : { base64: base64FromBytes(bytes) };
}

// ------------------------------------------------------------------------------------------------------ MQTT

const mqttView: View = {
  protocol: 'mqtt',
  readsStreams: false,
  addressFromName(topic, exchange) {
    if (exchange !== undefined) refuse('/exchange', 'MQTT has no exchanges');
    if (/[+#\0]/.test(topic)) refuse('/address', 'a topic name holds no +, # and U+0000');
    if (Buffer.byteLength(topic) > TOPIC_BYTES_MAX)
      refuse('/address', 'a topic name has at most 65,535 bytes');
    return addressFromTopic(topic);
  },
  nameFromAddress(address) {
    const topic = topicFromAddress(address);
    const reason =
      topic === address ? 'a topic name is the address' : 'a literal + is %2B in a topic name, # is %23';
    return { name: { topic }, reason };
  },
  received(message, nowMs) {
    const native = mqttPropertiesFromMessage(message);
    const { body, reliability: qos, retain, priority, expiresAtMs } = message;
    const expirySeconds = expiresAtMs === 0 ? -1 : Math.max(1, Math.ceil((expiresAtMs - nowMs) / 1000));
    const publish = {
      body,
      qos,
      retain,
      native: native.length === 0 ? null : native,
      expirySeconds,
      priority,
      described: true,
    };
    return messageFromMqtt(publish, message.address, '', nowMs);
  },
  shown(message, _placements, nowMs) {
    const properties = jsonFromMqttProperties(mqttPropertiesFromMessage(message));
    if (message.expiresAtMs !== 0) {
      properties.messageExpiryInterval = Math.max(1, Math.ceil((message.expiresAtMs - nowMs) / 1000));
    }
    return {
      topic: topicFromAddress(message.address),
      qos: message.reliability,
      retain: message.retain,
      payload: jsonFromBytes(message.body),
      properties,
    };
  },
};

function jsonFromMqttProperties(bytes: Uint8Array): Record<string, unknown> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const json: Record<string, unknown> = {};
  const pairs: [name: string, value: string][] = [];
  let at = 0;
  const next = (): Buffer => {
    const start = at + 2;
    at = start + buffer.readUInt16BE(at);
    return buffer.subarray(start, at);
  };
  while (at < buffer.length) {
    const definition = PROPERTY_BY_ID[buffer.readUInt8(at++)];
    if (definition === undefined) break;
    if (definition.type === 'byte') json[definition.name] = buffer.readUInt8(at++);
    else if (definition.type === 'pair') pairs.push([next().toString(), next().toString()]);
    else if (definition.id === MessageProperty.correlationData) json[definition.name] = jsonFromBytes(next());
    else json[definition.name] = next().toString();
  }
  if (pairs.length > 0) json.userProperties = pairs;
  return json;
}

// ------------------------------------------------------------------------------------------------ AMQP 0-9-1

const amqp091View: View = {
  protocol: 'amqp091',
  readsStreams: false,
  addressFromName(key, exchange = ROOT_EXCHANGE) {
    if (Buffer.byteLength(key) > SHORT_STRING_BYTES_MAX)
      refuse('/address', 'a routing key has at most 255 bytes');
    if (Buffer.byteLength(exchange) > SHORT_STRING_BYTES_MAX) {
      refuse('/exchange', 'the name of an exchange has at most 255 bytes');
    }
    return addressFromAmqp091(exchange, key);
  },
  nameFromAddress(address) {
    const { exchange, key, long } = amqp091FromAddress(address, null);
    let reason = 'the first level is the exchange; in the key / and . change places';
    if (long) reason = 'too long for a routing key: the address is in the header x-gw-address';
    else if (exchange === '') reason = 'the default exchange reaches a queue by its name';
    else if (exchange === ROOT_EXCHANGE)
      reason = `all levels are the key of ${ROOT_EXCHANGE}; / and . change places`;
    return { name: { exchange, routingKey: key }, reason };
  },
  received(message, nowMs) {
    const { route, content } = amqp091FromMessage(message, null, nowMs, CONTENT_BYTES_MAX);
    return messageFromAmqp091(Buffer.concat([route, content]), message.body, nowMs);
  },
  shown(message, _placements, nowMs) {
    const { route, content } = amqp091FromMessage(message, null, nowMs, CONTENT_BYTES_MAX);
    const { headers = [], ...fields } = decodeContent(content);
    const properties: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(fields)) {
      properties[name] = value instanceof Uint8Array ? jsonFromBytes(value) : jsonFromNumber(value);
    }
    if (headers.length > 0) {
      properties.headers = Object.fromEntries(headers.map(({ name, value }) => [name, jsonFromValue(value)]));
    }
    return {
      exchange: exchangeOfNative(route),
      routingKey: keyOfNative(route),
      body: jsonFromBytes(message.body),
      properties,
    };
  },
};

function jsonFromNumber(value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}

// ----------------------------------------------------------------------------------------------------- Kafka

const kafkaView: View = {
  protocol: 'kafka',
  readsStreams: true,
  addressFromName(topic, exchange) {
    if (exchange !== undefined) refuse('/exchange', 'Kafka has no exchanges');
    if (!isTopicName(topic))
      refuse('/address', 'a topic name has 1 to 249 letters, digits, `.`, `_` and `-`');
    return addressFromKafka(topic);
  },
  nameFromAddress(address) {
    const topic = kafkaFromAddress(address);
    let reason = '/ is . in a topic name';
    if (isDigestName(topic)) reason = 'too long for a topic name: it ends in a digest of the address';
    else if (topic.includes('-x')) reason = '/ is . in a topic name; other characters are -x and their bytes';
    return { name: { topic }, reason };
  },
  received(message, _nowMs) {
    const topic = kafkaFromAddress(message.address);
    return recordCodec.messageFromRecord(
      recordCodec.recordFromMessage(message, topic, message.key),
      message.address,
    );
  },
  shown(message, placements) {
    return placements.map(({ stream, key }) => ({
      topic: stream,
      ...jsonFromRecord(recordCodec.recordFromMessage(message, stream, key)),
    }));
  },
};

function jsonFromRecord({ key, value, headers, timestampMs }: StreamRecord): object {
  return {
    key: key === null ? null : jsonFromBytes(key),
    value: value === null ? null : jsonFromBytes(value),
    headers: headers.map((header) => [
      header.name,
      header.value === null ? null : jsonFromBytes(header.value),
    ]),
    timestampMs,
  };
}

/** Every protocol that the gateway speaks. */
export const protocolViews: readonly View[] = [mqttView, amqp091View, kafkaView];
