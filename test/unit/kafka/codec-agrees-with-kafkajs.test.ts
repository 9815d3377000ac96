/**
 * The codec against the independent one of kafkajs (versions before the flexible ones): its request encoders feed our
 * decoders, our response encoders feed its decoders, and every value must arrive.
 */

import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { decodeRequest, encodeResponse } from '../../../adapters/kafka/codec/compile.ts';
import { decodeProduceRequest } from '../../../adapters/kafka/codec/produce-request.ts';
import { Reader } from '../../../adapters/kafka/codec/reader.ts';
import type { Api } from '../../../adapters/kafka/codec/schema.ts';
import { Writer } from '../../../adapters/kafka/codec/writer.ts';
import { ALL_APIS } from './all-apis.ts';
import { leaves, SampleMaker } from './samples.ts';

interface PeerProtocol {
  readonly request: { encode(): Promise<{ readonly buffer: Buffer }> };
  readonly response: { decode(bytes: Buffer): Promise<unknown> };
}

interface PeerApi {
  readonly versions: readonly string[];
  protocol(options: { readonly version: number }): (parameters: object) => PeerProtocol;
}

const require = createRequire(import.meta.url);
const peer = require('kafkajs/src/protocol/requests/index.js') as { requests: Record<string, PeerApi> };
const peerName = (api: Api): string => (api.name === 'FindCoordinator' ? 'GroupCoordinator' : api.name);

const metadata = Buffer.from('subscription');
const assignment = Buffer.from('assignment');
const messages = [{ key: 'k', value: 'v', timestamp: 1_700_000_000_000, headers: { h: 'x' } }];

/** What each request is made of, in the client's words. */
const PARAMETERS: Readonly<Record<string, object>> = {
  Metadata: { topics: ['t-1', 't-2'], allowAutoTopicCreation: true },
  FindCoordinator: { groupId: 'group', coordinatorType: 0 },
  JoinGroup: {
    groupId: 'group',
    sessionTimeout: 30_001,
    rebalanceTimeout: 60_001,
    memberId: 'member',
    protocolType: 'consumer',
    groupProtocols: [{ name: 'RoundRobin', metadata }],
  },
  SyncGroup: {
    groupId: 'group',
    generationId: 7,
    memberId: 'member',
    groupAssignment: [{ memberId: 'member', memberAssignment: assignment }],
  },
  Heartbeat: { groupId: 'group', groupGenerationId: 7, memberId: 'member' },
  LeaveGroup: { groupId: 'group', memberId: 'member', members: [{ memberId: 'member' }] },
  OffsetCommit: {
    groupId: 'group',
    groupGenerationId: 7,
    memberId: 'member',
    retentionTime: -1,
    topics: [{ topic: 't-1', partitions: [{ partition: 3, offset: '99', metadata: 'note' }] }],
  },
  OffsetFetch: { groupId: 'group', topics: [{ topic: 't-1', partitions: [{ partition: 3 }] }] },
  ListOffsets: {
    replicaId: -1,
    isolationLevel: 0,
    topics: [{ topic: 't-1', partitions: [{ partition: 3, timestamp: '1700000000001' }] }],
  },
  Fetch: {
    replicaId: -1,
    maxWaitTime: 501,
    minBytes: 2,
    maxBytes: 1_000_001,
    isolationLevel: 1,
    topics: [{ topic: 't-1', partitions: [{ partition: 3, fetchOffset: '77', maxBytes: 65_537 }] }],
    rackId: 'rack',
  },
  CreateTopics: {
    topics: [
      { topic: 't-1', numPartitions: 5, replicationFactor: 1, configEntries: [{ name: 'a', value: 'b' }] },
    ],
    timeout: 5_001,
    validateOnly: false,
  },
  DeleteTopics: { topics: ['t-1', 't-2'], timeout: 5_001 },
  DescribeGroups: { groupIds: ['group', 'other'] },
  DeleteGroups: ['group', 'other'],
  DescribeConfigs: { resources: [{ type: 2, name: 't-1', configNames: ['a'] }], includeSynonyms: true },
  CreatePartitions: { topicPartitions: [{ topic: 't-1', count: 6 }], timeout: 5_001, validateOnly: false },
  DeleteRecords: { topics: [{ topic: 't-1', partitions: [{ partition: 3, offset: '12' }] }], timeout: 5_001 },
  InitProducerId: { transactionalId: null, transactionTimeout: 5_001 },
  SaslHandshake: { mechanism: 'PLAIN' },
};

const offered = (api: Api): number[] =>
  (peer.requests[peerName(api)]?.versions ?? [])
    .map(Number)
    .filter((version) => version >= api.versionMin && version <= api.versionMax);

const cases = ALL_APIS.flatMap((api) =>
  offered(api).map((version) => ({ name: `${api.name} ${version}`, api, version })),
);

function protocolOf(api: Api, version: number): PeerProtocol {
  return (peer.requests[peerName(api)] as PeerApi).protocol({ version })(PARAMETERS[api.name] ?? {});
}

describe('requests', () => {
  it.each(cases.filter(({ api }) => api.name in PARAMETERS))('$name', async ({ api, version }) => {
    const encoded = (await protocolOf(api, version).request.encode()).buffer;
    const decoded = leaves(decodeRequest(api, version, new Reader(Buffer.from(encoded))));
    // Numbers in text are numbers on the wire; a field that the version lacks is not sent.
    const sent = [...leaves(PARAMETERS[api.name])].filter((leaf) => encoded.includes(bytesOf(leaf)));
    expect(sent.length).toBeGreaterThan(0);
    expect(sent.filter((leaf) => !decoded.has(leaf))).toEqual([]);
  });

  it.each([3, 5, 7])('Produce %d', async (version) => {
    const produce = peer.requests.Produce as PeerApi;
    const topicData = [{ topic: 't-1', partitions: [{ partition: 4, messages }] }];
    const parameters = { acks: -1, timeout: 1_234, compression: 0, topicData };
    const encoded = (await produce.protocol({ version })(parameters).request.encode()).buffer;
    const request = decodeProduceRequest(version, new Reader(Buffer.from(encoded)));
    expect(request).toMatchObject({ transactionalId: null, acks: -1, timeoutMs: 1_234 });
    expect(request.topics[0]).toMatchObject({ name: 't-1', partitions: [{ index: 4 }] });
    const records = request.topics[0]?.partitions[0]?.records as Buffer;
    expect(records.readInt32BE(8)).toBe(records.length - 12);
    expect(records[16]).toBe(2);
  });
});

function bytesOf(leaf: string): Buffer {
  if (!/^-?\d+$/.test(leaf)) return Buffer.from(leaf);
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(leaf));
  return bytes.subarray(4);
}

// Its decoder of Fetch reads records, that of SaslAuthenticate a mechanism's answer, and that of the last one the
// response's header too.
const OWN_WAY = /^(Fetch|SaslAuthenticate|ListPartitionReassignments)/;

describe('responses', () => {
  it.each(cases.filter(({ name }) => !OWN_WAY.test(name)))('$name', async ({ api, version }) => {
    const sample = new SampleMaker().fields(api.response, version);
    const writer = new Writer();
    encodeResponse(api, version, writer, sample);
    const read = leaves(await protocolOf(api, version).response.decode(writer.frame().subarray(4)));
    const ignored = /^(topicAuthorizedOperations|clusterAuthorizedOperations|authorizedOperations)/;
    const missing = [...leaves(sample)].filter((leaf) => !read.has(leaf) && !ignored.test(leaf));
    expect(missing).toEqual([]);
  });
});

it('covers most of what kafkajs knows', () => {
  expect(cases.length).toBeGreaterThan(70);
});
