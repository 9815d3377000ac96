/**
 * Settings of topics and of the broker: DescribeConfigs, IncrementalAlterConfigs and AlterConfigs. Every setting that
 * Kafka 4 has is told with the value that holds, because tools read all, change one and may write all back. Those of
 * the broker are read only.
 */

import type { Stream } from '../../../src/core/index.ts';
import type { Call } from '../call.ts';
import { alterConfigsApi, describeConfigsApi, incrementalAlterConfigsApi } from '../codec/config-apis.ts';
import { KafkaError, NONE, refusalFromError } from '../errors.ts';
import { PLAIN_LISTENER, TLS_LISTENER } from '../services.ts';
import type { KafkaSettings } from '../settings.ts';
import { brokerSettings, type Endpoint } from '../state/broker-settings.ts';
import {
  ConfigType,
  defaultOf,
  heldValue,
  isListSetting,
  TOPIC_SETTINGS,
  type TopicSettings,
  topicSettingsFrom,
} from '../state/topic-settings.ts';
import { defineEndpoint } from './endpoint.ts';

const ResourceType = { topic: 2, broker: 4, brokerLogger: 8 } as const;
/** Where a value comes from, in DescribeConfigs' numbers. */
const ConfigSource = { topic: 1, staticBroker: 4, initial: 5 } as const;
const Operation = { set: 0, delete: 1, append: 2, subtract: 3 } as const;

interface ToldConfig {
  readonly name: string;
  readonly value: string;
  readonly readOnly: boolean;
  readonly configSource: number;
  readonly isSensitive: boolean;
  readonly synonyms: readonly { readonly name: string; readonly value: string; readonly source: number }[];
  readonly configType: number;
  readonly documentation: string | null;
}

/** Every setting of a topic with what it gave itself; only the named ones where `keys` is a list. */
export function topicConfigs(
  { given, log }: TopicSettings,
  server: KafkaSettings,
  keys: readonly string[] | null,
): ToldConfig[] {
  return TOPIC_SETTINGS.filter(({ name }) => keys === null || keys.includes(name)).map((definition) => {
    const { name } = definition;
    const own = given[name];
    // The server's defaults may have changed since the topic was made, and topics keep what they were made with.
    const initial = own === undefined ? heldValue(definition, log) : defaultOf(definition, server);
    const synonyms = [{ name, value: initial, source: ConfigSource.initial as number }];
    if (own !== undefined) synonyms.unshift({ name, value: own, source: ConfigSource.topic });
    return {
      name,
      value: own ?? initial,
      readOnly: false,
      configSource: own === undefined ? ConfigSource.initial : ConfigSource.topic,
      isSensitive: false,
      synonyms,
      configType: ConfigType[definition.type],
      documentation: definition.text,
    };
  });
}

/** Those that are open. A client is told the host that it dialled, unless the settings name another. */
function endpointsOf(call: Call): Endpoint[] {
  const { settings, listening } = call.services;
  const { origin, localAddress } = call.client;
  const listeners = [
    { name: PLAIN_LISTENER, protocol: 'PLAINTEXT', named: settings.advertised },
    { name: TLS_LISTENER, protocol: 'SSL', named: settings.tls.advertised },
  ] as const;
  const endpoints: Endpoint[] = [];
  for (const { name, protocol, named } of listeners) {
    const bound = listening(name);
    if (bound === undefined) continue;
    const port = origin.listener === name ? call.client.localPort : bound.port;
    endpoints.push({
      protocol,
      bound: endpointText(bound.host, bound.port),
      advertised: named ?? endpointText(localAddress, port),
    });
  }
  return endpoints;
}

const endpointText = (host: string, port: number): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

function brokerConfigs(call: Call, keys: readonly string[] | null): ToldConfig[] {
  const { settings, authenticator } = call.services;
  return brokerSettings(settings, endpointsOf(call), ['PLAIN', ...authenticator.mechanisms])
    .filter(({ name }) => keys === null || keys.includes(name))
    .map(({ name, type, value }) => ({
      name,
      value,
      readOnly: true,
      configSource: ConfigSource.staticBroker,
      isSensitive: false,
      synonyms: [{ name, value, source: ConfigSource.staticBroker }],
      configType: ConfigType[type],
      documentation: null,
    }));
}

export const describeConfigs = defineEndpoint(describeConfigsApi, (request, call) => ({
  results: request.resources.map(({ resourceType, resourceName, configurationKeys }) => {
    try {
      const configs = configsOf(call, resourceType, resourceName, configurationKeys);
      return {
        errorCode: NONE,
        errorMessage: null,
        resourceType,
        resourceName,
        configs: configs.map((config) => ({
          ...config,
          synonyms: request.includeSynonyms ? config.synonyms : [],
          documentation: request.includeDocumentation ? config.documentation : null,
        })),
      };
    } catch (error) {
      return { ...refusalFromError(error), resourceType, resourceName };
    }
  }),
}));

function configsOf(
  call: Call,
  resourceType: number,
  name: string,
  keys: readonly string[] | null,
): ToldConfig[] {
  // An empty list asks for everything, as in Kafka.
  const wanted = keys !== null && keys.length === 0 ? null : keys;
  if (resourceType === ResourceType.broker) {
    checkBroker(call, name);
    return brokerConfigs(call, wanted);
  }
  if (resourceType === ResourceType.brokerLogger) return [];
  const stream = topicOf(call, resourceType, name, 'read');
  const { settings: given, log } = stream.spec;
  return topicConfigs({ given, log }, call.services.settings, wanted);
}

function checkBroker(call: Call, name: string): void {
  if (name === '' || name === String(call.services.settings.nodeId)) return;
  throw new KafkaError('INVALID_REQUEST', `there is no broker ${name}`);
}

function topicOf(call: Call, resourceType: number, name: string, action: 'read' | 'configure'): Stream {
  if (resourceType !== ResourceType.topic) {
    throw new KafkaError('INVALID_REQUEST', `resources of type ${resourceType} are not known`);
  }
  const { topics } = call.services;
  const stream = topics.get(name);
  if (stream === undefined) throw new KafkaError('UNKNOWN_TOPIC_OR_PARTITION');
  if (!topics.may(call.client.principal, action, stream)) throw new KafkaError('TOPIC_AUTHORIZATION_FAILED');
  return stream;
}

// ------------------------------------------------------------------------------------------------- changing

type Given = Record<string, string | null>;

async function alter(
  call: Call,
  resource: { readonly resourceType: number; readonly resourceName: string },
  validateOnly: boolean,
  change: (now: Readonly<Record<string, string>>) => Given,
) {
  const { resourceType, resourceName } = resource;
  try {
    if (resourceType === ResourceType.broker) {
      throw new KafkaError('INVALID_REQUEST', 'settings of the broker are changed in the configuration file');
    }
    await call.services.topics.inTurn(async () => {
      const stream = topicOf(call, resourceType, resourceName, 'configure');
      const { given, log } = topicSettingsFrom(change(stream.spec.settings), call.services.settings);
      if (!validateOnly) await call.services.core.streams.change(resourceName, { settings: given, log });
    });
    return { errorCode: NONE, errorMessage: null, resourceType, resourceName };
  } catch (error) {
    return { ...refusalFromError(error), resourceType, resourceName };
  }
}

export const incrementalAlterConfigs = defineEndpoint(incrementalAlterConfigsApi, async (request, call) => {
  const responses = [];
  for (const resource of request.resources) {
    responses.push(
      await alter(call, resource, request.validateOnly, (now) => {
        const given: Given = { ...now };
        for (const { name, configOperation, value } of resource.configs) {
          given[name] = changedValue(name, given[name], configOperation, value);
        }
        return given;
      }),
    );
  }
  return { responses };
});

/** KIP-339. `null` takes a setting back to its default. */
function changedValue(
  name: string,
  now: string | null | undefined,
  operation: number,
  value: string | null,
): string | null {
  if (operation === Operation.set) {
    if (value === null) throw new KafkaError('INVALID_REQUEST', `${name} is set to nothing`);
    return value;
  }
  if (operation === Operation.delete) return null;
  if (operation !== Operation.append && operation !== Operation.subtract) {
    throw new KafkaError('INVALID_REQUEST', `operation ${operation} is not known`);
  }
  if (!isListSetting(name)) throw new KafkaError('INVALID_CONFIG', `${name} is no list`);
  const initial = TOPIC_SETTINGS.find((definition) => definition.name === name)?.initial ?? '';
  const items = (now ?? initial).split(',').filter((item) => item !== '');
  const named = (value ?? '').split(',').filter((item) => item !== '');
  const result =
    operation === Operation.append
      ? [...items, ...named.filter((item) => !items.includes(item))]
      : items.filter((item) => !named.includes(item));
  return result.join(',');
}

/** The older form replaces everything: what is not named goes back to its default. */
export const alterConfigs = defineEndpoint(alterConfigsApi, async (request, call) => {
  const responses = [];
  for (const resource of request.resources) {
    responses.push(
      await alter(call, resource, request.validateOnly, () =>
        Object.fromEntries(resource.configs.map(({ name, value }) => [name, value])),
      ),
    );
  }
  return { responses };
});
