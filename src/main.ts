#!/usr/bin/env node
/**
 * The entry of the process, and the only file that knows which protocols there are: it hands their adapters, settings
 * and mappings to the gateway and the command line. Imported by tests, it starts nothing.
 */

import type { Amqp091Settings } from '../adapters/amqp091/settings.ts';
import { amqp091Settings } from '../adapters/amqp091/settings.ts';
import type { KafkaSettings } from '../adapters/kafka/settings.ts';
import { kafkaSettings } from '../adapters/kafka/settings.ts';
import type { MqttSettings } from '../adapters/mqtt/settings.ts';
import { mqttSettings } from '../adapters/mqtt/settings.ts';
import { amqp091Codec } from '../mappings/amqp091.ts';
import { argumentsOfQueue } from '../mappings/amqp091-definitions.ts';
import { jsonFromMessage, messageFromJson, patternFromFilter, protocolViews } from '../mappings/http.ts';
import { addressFromKafka, kafkaRecordCodec, recordCodec } from '../mappings/kafka.ts';
import { capturesOfStream, settingsOfStream } from '../mappings/kafka-definitions.ts';
import { mqtt5Codec } from '../mappings/mqtt.ts';
import { definitionsFromRabbitmq } from '../mappings/rabbitmq-definitions.ts';
import { compileRule } from '../mappings/rules.ts';
import { compileBridgeMapping } from '../mappings/rules-bridge.ts';
import { definitionsFromStrimzi } from '../mappings/strimzi.ts';
import { runCommandLine } from './cli/index.ts';
import type { ConfigShape } from './config/index.ts';
import type { GatewayParts } from './gateway.ts';
import { VERSION } from './version.ts';

export const configShape: ConfigShape = {
  sections: { mqtt: mqttSettings, amqp091: amqp091Settings, kafka: kafkaSettings },
  shortcuts: [
    {
      flag: 'host',
      value: 'address',
      description: 'address that the protocols listen on; the HTTP API has its own',
      paths: ['mqtt.host', 'amqp091.host', 'kafka.host'],
    },
    { flag: 'mqtt-port', value: 'port', description: 'port for MQTT', paths: ['mqtt.port'] },
    {
      flag: 'mqtt-websocket-port',
      value: 'port',
      description: 'port for MQTT over WebSocket',
      paths: ['mqtt.websocket.port'],
    },
    { flag: 'amqp-port', value: 'port', description: 'port for AMQP', paths: ['amqp091.port'] },
    { flag: 'kafka-port', value: 'port', description: 'port for Kafka', paths: ['kafka.port'] },
  ],
  examples: {
    connections: [
      'connections:',
      '  plant:',
      '    type: mqtt',
      '    urls: ["mqtts://broker.example.com:8883"]',
      '    user: gateway',
      '    password: { env: PLANT_PASSWORD }',
    ],
    bridges: [
      'bridges:',
      '  telemetry-to-plant:',
      '    connection: plant',
      '    direction: out',
      '    mappings:',
      '      - { match: "devices/{device}/telemetry", topic: "site1/{device}" }',
      '    required: true',
      '    buffer: { bytesMax: 1073741824, overflow: drop-oldest }',
      '  commands-from-plant:',
      '    connection: plant',
      '    direction: in',
      '    mappings:',
      '      - { pattern: "commands/#", remotePrefix: "site1/" }',
    ],
  },
  memoryShares: {
    'mqtt.connectionsMax': 131_072,
    'mqtt.limits.packetBytesMax': 32,
    'mqtt.limits.inflightBytesMax': 1_024,
    'mqtt.limits.outputBytesSoft': 512,
    'amqp091.connectionsMax': 131_072,
    'amqp091.highWaterBytes': 1_024,
    'amqp091.unfinishedBytesMax': 32,
    'amqp091.unsettledPerConsumerMax': 16_384,
    'kafka.connectionsMax': 131_072,
    'kafka.highWaterBytes': 256,
    'kafka.produceBytesMax': 64,
    'kafka.requestBytesMax': 64,
    'kafka.unfinishedBytesMax': 16,
    'kafka.fetchBytesMax': 64,
    'kafka.groupBytesMax': 128,
  },
};

export const gatewayParts: GatewayParts = {
  version: VERSION,
  adapters: [
    {
      section: 'mqtt',
      async create(host, settings) {
        const { createMqttAdapter } = await import('../adapters/mqtt/index.ts');
        return createMqttAdapter(host, settings as MqttSettings);
      },
    },
    {
      section: 'amqp091',
      async create(host, settings) {
        const { createAmqp091Adapter } = await import('../adapters/amqp091/index.ts');
        return createAmqp091Adapter(host, settings as Amqp091Settings);
      },
    },
    {
      section: 'kafka',
      async create(host, settings) {
        const { createKafkaAdapter } = await import('../adapters/kafka/index.ts');
        return createKafkaAdapter(host, settings as KafkaSettings);
      },
    },
  ],
  records: recordCodec,
  codecs: [mqtt5Codec, amqp091Codec, kafkaRecordCodec],
  addressFromStream: addressFromKafka,
  compileRule,
  drivers: [
    {
      type: 'amqp091',
      load: async () => (await import('../adapters/bridge-amqp091/index.ts')).createAmqp091BridgeDriver(),
    },
    {
      type: 'amqp10',
      load: async () => (await import('../adapters/bridge-amqp10/index.ts')).createAmqp10BridgeDriver(),
    },
    {
      type: 'kafka',
      load: async () => (await import('../adapters/bridge-kafka/index.ts')).createKafkaBridgeDriver(),
    },
    {
      type: 'mqtt',
      load: async () => (await import('../adapters/bridge-mqtt/index.ts')).createMqttBridgeDriver(),
    },
  ],
  compileBridgeMapping,
  protocols: protocolViews,
  definitions: {
    argumentsOfQueue,
    capturesOfStream,
    settingsOfStream,
    importers: {
      rabbitmq: { source: 'what `rabbitmqctl export_definitions` writes', read: definitionsFromRabbitmq },
      strimzi: { source: 'topic mapping rules of the Strimzi MQTT bridge', read: definitionsFromStrimzi },
    },
  },
  messageFromJson,
  jsonFromMessage,
  patternFromFilter,
};

/** Runs what the arguments of the process say. */
export async function run(): Promise<void> {
  if (process.versions.node.localeCompare('24.2', 'en', { numeric: true }) < 0) {
    console.error(`RosettaMQ needs Node.js 24.2 or newer, and this is ${process.version}`);
    process.exitCode = 1;
  } else await runCommandLine(configShape, gatewayParts, process.argv);
}

// An older Node.js has no import.meta.main, and would end without a word.
if (import.meta.main ?? process.argv[1]?.endsWith('main.js')) await run();
