/** What the codec refuses and skips, and that the hand-written parts say what the tables say. */

import { describe, expect, it } from 'vitest';
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
} from '../../../adapters/kafka/codec/compile.ts';
import { fetchApi, produceApi } from '../../../adapters/kafka/codec/data-apis.ts';
import { metadataApi } from '../../../adapters/kafka/codec/discovery-apis.ts';
import { encodeFetchResponse } from '../../../adapters/kafka/codec/fetch-response.ts';
import { FrameReader } from '../../../adapters/kafka/codec/frame-reader.ts';
import { decodeProduceRequest } from '../../../adapters/kafka/codec/produce-request.ts';
import { MalformedRequest, Reader } from '../../../adapters/kafka/codec/reader.ts';
import { Writer } from '../../../adapters/kafka/codec/writer.ts';
import { ALL_APIS } from './all-apis.ts';
import { normalize, SampleMaker, versionsOf } from './samples.ts';

describe('every table', () => {
  const cases = ALL_APIS.flatMap((api) =>
    versionsOf(api).map((version) => ({ name: `${api.name} ${version}`, api, version })),
  );

  it.each(cases)('$name comes back from the wire, and is refused when cut anywhere', ({ api, version }) => {
    const request = new SampleMaker().fields(api.request, version);
    const writer = new Writer();
    encodeRequest(api, version, writer, request);
    const bytes = Buffer.from(writer.cut());
    expect(normalize(decodeRequest(api, version, new Reader(bytes)))).toMatchObject(
      normalize(request) as object,
    );
    for (let length = 0; length < bytes.length; length += 1 + (length >> 4)) {
      expect(() => decodeRequest(api, version, new Reader(bytes.subarray(0, length)))).toThrow(
        MalformedRequest,
      );
    }
    const response = new SampleMaker().fields(api.response, version);
    encodeResponse(api, version, writer, response);
    expect(normalize(decodeResponse(api, version, new Reader(writer.cut())))).toMatchObject(
      normalize(response) as object,
    );
  });
});

describe('the hand-written parts', () => {
  it.each(versionsOf(produceApi))('read Produce %d like its table', (version) => {
    const request = new SampleMaker().fields(produceApi.request, version);
    const writer = new Writer();
    encodeRequest(produceApi, version, writer, request);
    const bytes = writer.cut();
    const slow = decodeRequest(produceApi, version, new Reader(bytes));
    const fast = decodeProduceRequest(version, new Reader(bytes));
    expect(fast.acks).toBe(slow.acks);
    expect(fast.timeoutMs).toBe(slow.timeoutMs);
    if (version >= 3) expect(fast.transactionalId).toBe(slow.transactionalId);
    expect(fast.topics.map(({ name, topicId }) => name || topicId)).toEqual(
      slow.topicData.map(({ name, topicId }) => name || topicId),
    );
    expect(fast.topics.map(({ partitions }) => partitions)).toEqual(
      slow.topicData.map((topic) => topic.partitionData),
    );
  });

  it.each(versionsOf(fetchApi))('write Fetch %d like its table', (version) => {
    const topicId = 'ab'.repeat(16);
    const partition = {
      partition: 3,
      errorCode: 1,
      highWatermark: 2 ** 40,
      logStartOffset: 5,
      records: Buffer.from('batch'),
    };
    const empty = { ...partition, partition: 4, records: Buffer.alloc(0) };
    const topics = [{ topic: 't', topicId, partitions: [partition, empty] }];
    const frame = Buffer.concat(encodeFetchResponse(version, 77, { errorCode: 0, sessionId: 9, topics }));
    expect(frame.readInt32BE(0)).toBe(frame.length - 4);
    expect(frame.readInt32BE(4)).toBe(77);
    const reader = new Reader(frame, version >= fetchApi.flexibleFrom ? 9 : 8);
    const read = decodeResponse(fetchApi, version, reader);
    expect(reader.left).toBe(0);
    if (version >= 7) expect(read.sessionId).toBe(9);
    expect(read.responses[0]).toMatchObject(version < 13 ? { topic: 't' } : { topicId });
    expect(read.responses[0]?.partitions).toMatchObject([
      { partitionIndex: 3, errorCode: 1, highWatermark: 2 ** 40, records: Buffer.from('batch') },
      { partitionIndex: 4, highWatermark: 2 ** 40, records: Buffer.alloc(0) },
    ]);
  });
});

describe('flexible versions', () => {
  it('skip tagged fields that are not known', () => {
    const writer = new Writer();
    writer.uvarint(1); // no topics
    writer.bool(true);
    writer.bool(false);
    writer.uvarint(2);
    for (const tag of [7, 1_000]) {
      writer.uvarint(tag);
      writer.bytes(Buffer.from('??'), true);
    }
    // A byte string's compact length is one more than its size, which is what a tagged field carries.
    const bytes = Buffer.from(writer.cut());
    bytes[bytes.indexOf('??') - 1] = 2;
    bytes[bytes.lastIndexOf('??') - 1] = 2;
    expect(decodeRequest(metadataApi, 12, new Reader(bytes))).toMatchObject({
      topics: [],
      allowAutoTopicCreation: true,
    });
  });
});

describe('false lengths', () => {
  it('of arrays are refused before anything is made', () => {
    const bytes = Buffer.alloc(64);
    bytes.writeInt32BE(0x7fff_ffff, 0);
    expect(() => decodeRequest(metadataApi, 1, new Reader(bytes))).toThrow(/does not fit/);
  });

  it('of many small elements are refused by their number', () => {
    const bytes = Buffer.alloc(4 + 2_000);
    bytes.writeInt32BE(1_000, 0);
    expect(decodeRequest(metadataApi, 1, new Reader(bytes)).topics).toHaveLength(1_000);
    expect(() => decodeRequest(metadataApi, 1, new Reader(bytes, 0, bytes.length, 999))).toThrow(
      /requestElementsMax/,
    );
  });

  it('of requests are refused before they are assembled', () => {
    let reserved = 0;
    const limits = {
      produceBytesMax: 1_000,
      requestBytesMax: 100,
      reserve: (bytes: number) => {
        reserved += bytes;
      },
      release: (bytes: number) => {
        reserved -= bytes;
      },
    };
    const chunk = (length: number, key: number): Buffer => {
      const bytes = Buffer.alloc(8);
      bytes.writeInt32BE(length, 0);
      bytes.writeInt16BE(key, 4);
      return bytes;
    };
    for (const [length, key] of [
      [101, 3],
      [1_001, 0],
      [7, 0],
      [-1, 3],
    ] as const) {
      expect(() => new FrameReader(limits).push(chunk(length, key), [])).toThrow(MalformedRequest);
    }
    expect(reserved).toBe(0);
    const reader = new FrameReader(limits);
    const frames: Buffer[] = [];
    reader.push(chunk(1_000, 0), frames);
    expect(reserved).toBe(1_000);
    reader.push(Buffer.alloc(996), frames);
    expect(reserved).toBe(0);
    expect(frames.map(({ length }) => length)).toEqual([1_000]);
  });

  it('do not matter to how a stream of requests is cut into chunks', () => {
    const limits = { produceBytesMax: 1_000, requestBytesMax: 1_000, reserve: () => {}, release: () => {} };
    const wanted: Buffer[] = [];
    const pieces: Buffer[] = [];
    for (let i = 0; i < 50; i++) {
      const body = Buffer.alloc(8 + ((i * 37) % 300), i);
      wanted.push(body);
      const length = Buffer.alloc(4);
      length.writeInt32BE(body.length);
      pieces.push(length, body);
    }
    const stream = Buffer.concat(pieces);
    for (const size of [1, 2, 3, 5, 7, 64, 301, 4_096, stream.length]) {
      const reader = new FrameReader(limits);
      const frames: Buffer[] = [];
      for (let at = 0; at < stream.length; at += size) reader.push(stream.subarray(at, at + size), frames);
      expect(frames).toEqual(wanted);
    }
  });
});
