/**
 * How a gateway knows another one over Kafka: by a feature that a gateway names among those that it supports when it
 * answers ApiVersions from version 3 on (KIP-584). Clients ignore features that they do not know. Its cluster id says
 * which gateway it is; alone it would not, for that of every Apache Kafka is 16 bytes in base64url, too. Used by the
 * server and by the client of bridges.
 */

export const GATEWAY_FEATURE = { name: 'rosettamq.gateway', minVersion: 1, maxVersion: 1 } as const;
