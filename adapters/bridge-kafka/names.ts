/**
 * Names between a gateway and an outside Kafka: brokers, groups, sources, and who the other side is. Called by the driver
 * before and while it connects. Pure.
 */

import {
  addressFromKafka,
  isDigestName,
  isTopicName,
  kafkaFromAddress,
  TOPIC_NAME_CHARS_MAX,
} from '../../mappings/kafka.ts';
import { topicExpression } from '../../mappings/kafka-expressions.ts';
import { DEFAULT_PORT } from './settings.ts';

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

/** Of what the schema lets through. Throws Error for a port that is none. */
export function brokerFromText(text: string): BrokerAddress {
  const bracket = text.startsWith('[') ? text.indexOf(']') : -1;
  const host = bracket > 0 ? text.slice(1, bracket) : text.replace(/:\d*$/, '');
  const portText = /:(\d+)$/.exec(bracket > 0 ? text.slice(bracket + 1) : text)?.[1];
  const port = portText === undefined ? DEFAULT_PORT : Number(portText);
  if (port < 1 || port > 65_535) throw new Error(`${text}: the port has to be 1 to 65535`);
  return { host, port };
}

/**
 * The group of a bridge in, and of a bridge out the transactional id and the group that remembers what was sent: stable over
 * restarts, different for each gateway, bridge and direction.
 */
export function ownName(gatewayId: string, bridge: string, direction: 'in' | 'out'): string {
  return `rosettamq.bridge.${gatewayId}.${bridge}.${direction}`;
}

/**
 * The id of the gateway whose cluster id this is: 16 bytes in base64url. Those of Apache Kafka look the same, so only for one
 * that has said that it is a gateway.
 */
export function gatewayIdOfCluster(clusterId: string | null): string | null {
  if (clusterId === null || !/^[A-Za-z0-9_-]{22}$/.test(clusterId)) return null;
  return Buffer.from(clusterId, 'base64url').toString('hex');
}

/**
 * The topics whose addresses a pattern in MQTT's script matches: one name, or `/expression/` where it has wildcards. Null where
 * a name would be too long to be told.
 */
export function sourceFromPattern(pattern: string): string | null {
  const levels = pattern.split('/');
  if (!levels.includes('+') && levels.at(-1) !== '#') {
    const name = pattern === '' ? '' : kafkaFromAddress(pattern);
    return isTopicName(name) && !isDigestName(name) ? name : null;
  }
  const open = levels.at(-1) === '#';
  const named = open ? levels.slice(0, -1) : levels;
  const parts = named.map((level) => (level === '+' ? '[^.]*' : escapeExpression(nameOfLevel(level))));
  const head = parts.join('\\.');
  const source = !open ? head : named.length === 0 ? '.*' : `${head}(\\..*)?`;
  return source.length > 4 * TOPIC_NAME_CHARS_MAX ? null : `/^${source}$/`;
}

const nameOfLevel = (level: string): string => (level === '' ? '' : kafkaFromAddress(level));

const escapeExpression = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');

/** A source as an operator writes it: a topic's name or `/expression/`. Throws Error with a text for people. */
export function checkSource(source: string): void {
  if (isExpression(source)) expressionOf(source);
  else if (!isTopicName(source)) {
    throw new Error(
      `${JSON.stringify(source)} is no name of a Kafka topic: letters, digits, ".", "_" and "-", at most 249; an expression ` +
        'stands between slashes',
    );
  }
}

const isExpression = (source: string): boolean =>
  source.length > 2 && source.startsWith('/') && source.endsWith('/');

/** Throws Error, also for what could hold up everything else while names are compared with it. */
const expressionOf = (source: string): RegExp => topicExpression(source.slice(1, -1));

/** Which of the topics there are the sources name. Kafka's own topics only where one is named in full. */
export class Sources {
  readonly #names: ReadonlySet<string>;
  readonly #expressions: readonly RegExp[];

  constructor(sources: readonly string[]) {
    this.#names = new Set(sources.filter((source) => !isExpression(source)));
    this.#expressions = sources.filter(isExpression).map(expressionOf);
  }

  /** Named in full. */
  get names(): readonly string[] {
    return [...this.#names];
  }

  get hasExpressions(): boolean {
    return this.#expressions.length > 0;
  }

  has(topic: string, isInternal: boolean): boolean {
    if (this.#names.has(topic)) return true;
    return !isInternal && !topic.startsWith('__') && this.#expressions.some((each) => each.test(topic));
  }
}

/** The address that a topic stands for here; of a digest the one that its record names, where it is the right one. */
export function addressOfTopic(topic: string, told: string | null): string {
  if (told !== null && isDigestName(topic) && kafkaFromAddress(told) === topic) return told;
  return addressFromKafka(topic);
}
