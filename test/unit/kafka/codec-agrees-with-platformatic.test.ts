/**
 * The codec against the independent one of @platformatic/kafka, every API and version that both know: its request
 * encoders feed our decoders, our response encoders feed its decoders, and every value must arrive.
 */

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Reader as PeerReader } from '@platformatic/kafka';
import { describe, expect, it } from 'vitest';
import { decodeRequest, encodeResponse } from '../../../adapters/kafka/codec/compile.ts';
import { Reader } from '../../../adapters/kafka/codec/reader.ts';
import type { Api } from '../../../adapters/kafka/codec/schema.ts';
import { Writer } from '../../../adapters/kafka/codec/writer.ts';
import { ALL_APIS } from './all-apis.ts';
import { asClientsGive, leaves, type Sample, SampleMaker, versionsOf } from './samples.ts';

interface PeerCodec {
  createRequest(...args: unknown[]): { readonly buffer: Buffer };
  parseResponse(correlationId: number, apiKey: number, version: number, reader: PeerReader): unknown;
}

const FOLDER = join(import.meta.dirname, '../../../node_modules/@platformatic/kafka/dist/apis');
const FOLDERS = readdirSync(FOLDER, { withFileTypes: true }).filter((entry) => entry.isDirectory());

function peerFile(api: Api, version: number): string | undefined {
  const name = api.name.replace(/([a-z])([A-Z])/g, '$1-$2').toLowerCase();
  return FOLDERS.map((folder) => join(FOLDER, folder.name, `${name}-v${version}.js`)).find((file) =>
    existsSync(file),
  );
}

const loadPeer = async (file: string): Promise<PeerCodec> =>
  (await import(pathToFileURL(file).href)) as PeerCodec;

const cases = ALL_APIS.flatMap((api) =>
  versionsOf(api).flatMap((version) => {
    const file = peerFile(api, version);
    return file === undefined ? [] : [{ name: `${api.name} ${version}`, api, version, file }];
  }),
);

/** What its encoders ask for under names of their own, or write themselves. */
const ARGUMENTS: Readonly<Record<string, (sample: Sample) => unknown>> = {
  replica: () => -1,
  forgottenTopicsData: () => [],
  coordinatorKeys: ({ key }) => [key],
  members: ({ memberId }) => [{ memberId }],
  generationId: ({ generationIdOrMemberEpoch }) => generationIdOrMemberEpoch,
  topics: ({ topicNames, topics }) => (topics ? named(topics) : named(topicNames)),
};

/** Its encoders look for a topic's name under one of these, which differ from version to version. */
function named(topics: unknown): unknown {
  return (topics as (Sample | string)[]).map((topic) => {
    if (typeof topic === 'string') return { name: topic };
    if (!('topic' in topic)) return topic;
    return { ...topic, name: topic.topic, topicId: topic.topicId ?? topic.topic };
  });
}

/** Encoders that take other things than the request's fields. */
const OWN_SHAPE = /^(Produce|OffsetFetch [1-7]$)/;

function parametersOf({ createRequest }: PeerCodec): string[] {
  const list = /\(([^)]*)\)/.exec(createRequest.toString())?.[1] ?? '';
  return list
    .split(',')
    .map((each) => each.replace(/=.*/, '').trim().replace(/^_/, ''))
    .filter((name) => name !== '');
}

describe('requests', () => {
  it.each(cases.filter(({ name }) => !OWN_SHAPE.test(name)))('$name', async ({ api, version, file }) => {
    const peer = await loadPeer(file);
    const sample = new SampleMaker().fields(api.request, version);
    if (api.name === 'ListGroups' && version >= 5) sample.typesFilter = ['classic'];
    const names = parametersOf(peer);
    const given: Sample = {};
    for (const name of names) {
      const own = ARGUMENTS[name];
      const initial = api.request.find((field) => field.name === name)?.initial;
      const named = name === 'topics' || !(name in sample) ? own?.(sample) : undefined;
      const argument = named ?? sample[name] ?? initial;
      if (argument === undefined)
        throw new Error(`${api.name} ${version}: nothing known of its argument ${name}`);
      given[name] = asClientsGive(argument);
    }
    const encoded = Buffer.from(peer.createRequest(...names.map((name) => given[name])).buffer);
    const decoded = leaves(decodeRequest(api, version, new Reader(encoded)));
    const topicIdsIgnored = api.name === 'Metadata' && version < 12;
    const missing = [...leaves(given)].filter((leaf) => !decoded.has(leaf));
    const unknown = missing.filter((leaf) => !isWrittenByPeer(api.name, version, leaf, topicIdsIgnored));
    expect(unknown).toEqual([]);
  });
});

/** Values that its encoders replace by their own. */
function isWrittenByPeer(api: string, version: number, leaf: string, topicIdsIgnored: boolean): boolean {
  if (api === 'Metadata') return topicIdsIgnored ? /^a{20}/.test(leaf) : /^(a{20}|name-)/.test(leaf);
  if (api === 'LeaveGroup') return version >= 5 && leaf.startsWith('reason-');
  if (api === 'Fetch' || api === 'ListOffsets' || api === 'OffsetForLeaderEpoch') {
    return leaf === '-1' || leaf === '0' || Number(leaf) > 2 ** 33 || /^\d{1,3}$/.test(leaf);
  }
  return false;
}

describe('responses', () => {
  it.each(cases)('$name', async ({ api, version, file }) => {
    const peer = await loadPeer(file);
    const sample = new SampleMaker().fields(api.response, version);
    // It decodes records, which are not in question here, and throws where a record has an error.
    const sent = JSON.parse(JSON.stringify(sample), (name, value) => {
      if (name === 'records') return null;
      return name === 'recordErrors' ? [] : value?.type === 'Buffer' ? Buffer.from(value.data) : value;
    }) as Sample;
    const writer = new Writer();
    encodeResponse(api, version, writer, sent);
    const reader = PeerReader.from(Buffer.from(writer.frame().subarray(4)));
    const read = leaves(peer.parseResponse(1, api.key, version, reader));
    expect([...leaves(sent)].filter((leaf) => !read.has(leaf))).toEqual([]);
    expect(reader.remaining).toBe(0);
  });
});

it('covers most of what is offered', () => {
  const versions = ALL_APIS.reduce((sum, api) => sum + versionsOf(api).length, 0);
  expect(cases.length / versions).toBeGreaterThan(0.85);
});
