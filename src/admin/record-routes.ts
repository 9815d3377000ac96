/**
 * `/v1/streams/{name}/records`: what stands in a stream, looked at in pages, partition by partition. Nothing is committed, so
 * no group notices. A page is read in steps of bounded size and ends early where its records are large.
 */

import { Buffer } from 'node:buffer';
import Type, { type Static } from 'typebox';
import { CoreError, type Stream } from '../core/index.ts';
import { type MessageView, messageSchema } from './message-schema.ts';
import { found, nameParams } from './object-names.ts';
import type { AdminOptions } from './options.ts';
import { pageOf, pageQuery } from './paging.ts';
import { notFound, problem } from './problems.ts';
import { problemResponse } from './schemas.ts';
import type { App } from './validation.ts';

const PAGE_BYTES = 4 * 1024 * 1024;
const STEP_BYTES = 256 * 1024;

const recordsQuery = Type.Object(
  {
    ...pageQuery.properties,
    partition: Type.Optional(Type.Integer({ minimum: 0, description: 'Only of this one.' })),
  },
  { additionalProperties: false },
);

const recordSchema = Type.Object({
  partition: Type.Integer(),
  offset: Type.Integer(),
  timestampMs: Type.Number({ description: 'Milliseconds since 1970.' }),
  message: messageSchema,
});

type RecordView = Static<typeof recordSchema>;

interface Place {
  readonly partition: number;
  readonly offset: number;
}

export function addRecordRoutes(app: App, { core, jsonFromMessage }: AdminOptions): void {
  app.get(
    '/v1/streams/:name/records',
    {
      schema: {
        summary: 'Look at the records of a stream',
        description: 'Oldest first, one partition after the other; nothing is committed.',
        tags: ['streams'],
        params: nameParams,
        querystring: recordsQuery,
        response: { 200: pageOf(recordSchema), '4xx': problemResponse },
      },
    },
    async (request) => {
      const { limit, after, partition } = request.query;
      const stream = found(core.streams.get(request.params.name), 'stream', request.params.name);
      if (partition !== undefined && partition >= stream.partitions.length) {
        throw notFound('/name', `stream ${stream.spec.name} has no partition ${partition}`);
      }
      const place = after === undefined ? { partition: partition ?? 0, offset: 0 } : placeFromCursor(after);
      const last = partition ?? stream.partitions.length - 1;
      const items: RecordView[] = [];
      let bytes = 0;
      let next: Place | null = null;
      for await (const [at, found] of recordsFrom(stream, place, last)) {
        if (items.length === limit || bytes >= PAGE_BYTES) {
          next = at;
          break;
        }
        bytes += found.message.body.length;
        items.push({
          ...at,
          timestampMs: found.timestampMs,
          message: jsonFromMessage(found.message) as MessageView,
        });
      }
      return { items, next: next === null ? null : cursorOf(next) };
    },
  );
}

type Found = Awaited<ReturnType<Stream['readMessages']>>['messages'][number];

async function* recordsFrom(
  stream: Stream,
  from: Place,
  lastPartition: number,
): AsyncGenerator<readonly [Place, Found]> {
  for (let index = from.partition; index <= lastPartition; index++) {
    const partition = stream.partitions[index];
    if (partition === undefined) return;
    let offset = Math.max(partition.startOffset, index === from.partition ? from.offset : 0);
    while (offset < partition.endOffset) {
      const read = await readFrom(stream, index, offset);
      for (const each of read.messages)
        if (each.offset >= offset) yield [{ partition: index, offset: each.offset }, each];
      if (read.nextOffset <= offset) break;
      offset = read.nextOffset;
    }
  }
}

/** What was removed while it was looked at is skipped. */
async function readFrom(
  stream: Stream,
  partition: number,
  offset: number,
): ReturnType<Stream['readMessages']> {
  try {
    return await stream.readMessages(partition, offset, STEP_BYTES);
  } catch (error) {
    if (!(error instanceof CoreError) || error.code !== 'offset-out-of-range') throw error;
    return { messages: [], nextOffset: stream.partitions[partition]?.startOffset ?? 0 };
  }
}

function cursorOf({ partition, offset }: Place): string {
  return Buffer.from(`${partition}.${offset}`).toString('base64url');
}

function placeFromCursor(cursor: string): Place {
  const parts = /^(\d{1,9})\.(\d{1,15})$/.exec(Buffer.from(cursor, 'base64url').toString());
  if (parts === null)
    throw problem('invalid-request', 'query', '/after', 'is not the `next` of an earlier page');
  return { partition: Number(parts[1]), offset: Number(parts[2]) };
}
