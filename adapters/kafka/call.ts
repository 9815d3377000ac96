/**
 * One request on its way to its answer. A connection keeps its calls in the order of arrival and sends the answers
 * in that order (the protocol has no other), whenever each is ready. A handler answers exactly once: `respond` for
 * answers made from a table, `respondWith` for finished bytes, `finish` where the protocol wants no answer.
 */

import { encodeResponse } from './codec/compile.ts';
import type { Api, ResponseDraft } from './codec/schema.ts';
import { Writer } from './codec/writer.ts';
import type { Client, KafkaServices } from './services.ts';

const API_VERSIONS_KEY = 18;

export interface RequestHeader {
  readonly apiKey: number;
  readonly version: number;
  readonly correlationId: number;
  readonly clientId: string;
}

/** What a call needs of its connection. */
export interface CallOwner extends Client {
  readonly services: KafkaServices;
  /** The call has its answer. */
  answered(call: Call): void;
}

export class Call {
  readonly header: RequestHeader;
  readonly client: CallOwner;
  /** Bytes of the request. */
  readonly requestBytes: number;
  done = false;
  /** In the order of sending; empty where no answer is wanted. */
  pieces: readonly Uint8Array[] = [];

  constructor(header: RequestHeader, client: CallOwner, requestBytes: number) {
    this.header = header;
    this.client = client;
    this.requestBytes = requestBytes;
  }

  get version(): number {
    return this.header.version;
  }

  get services(): KafkaServices {
    return this.client.services;
  }

  respond<A extends Api>(api: A, response: ResponseDraft<A>): void {
    const writer = this.beginResponse(api);
    encodeResponse(api, this.version, writer, response);
    this.respondWith([writer.frame()]);
  }

  /** A writer that holds the response's header. */
  beginResponse(api: Api): Writer {
    const writer = new Writer();
    writer.int32(this.header.correlationId);
    // Every client reads the answer to ApiVersions before it knows what the server speaks (KIP-511).
    if (api.flexibleFrom <= this.version && api.key !== API_VERSIONS_KEY) writer.uvarint(0);
    return writer;
  }

  respondWith(pieces: readonly Uint8Array[]): void {
    this.pieces = pieces;
    this.finish();
  }

  finish(): void {
    if (this.done) return;
    this.done = true;
    this.client.answered(this);
  }
}
