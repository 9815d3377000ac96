/**
 * One API that the server answers: its table and what to do with a request. Most handlers take a decoded request and
 * give back the answer, now or later; the few that are hot take the bytes and answer the call themselves.
 */

import type { Call } from '../call.ts';
import { decodeRequest } from '../codec/compile.ts';
import type { Reader } from '../codec/reader.ts';
import type { Api, RequestOf, ResponseDraft } from '../codec/schema.ts';
import { codeFromCoreError, ERRORS, NONE } from '../errors.ts';

export interface Endpoint {
  readonly api: Api;
  /** Must call `fail` with whatever goes wrong later; what goes wrong at once is thrown. */
  handle(call: Call, reader: Reader, fail: (error: unknown) => void): void;
}

type Answer<A extends Api> = ResponseDraft<A> | Promise<ResponseDraft<A>>;

export function defineEndpoint<A extends Api>(
  api: A,
  answer: (request: RequestOf<A>, call: Call) => Answer<A>,
): Endpoint {
  return {
    api,
    handle(call, reader, fail) {
      const response = answer(decodeRequest(api, call.version, reader), call);
      if (!(response instanceof Promise)) {
        call.respond(api, response);
        return;
      }
      response.then((later) => call.respond(api, later)).catch(fail);
    },
  };
}

/** The answer comes through a callback, once: for requests that wait for others. */
export function defineWaitingEndpoint<A extends Api>(
  api: A,
  begin: (request: RequestOf<A>, call: Call, answer: (response: ResponseDraft<A>) => void) => void,
): Endpoint {
  return {
    api,
    handle(call, reader) {
      begin(decodeRequest(api, call.version, reader), call, (response) => call.respond(api, response));
    },
  };
}

/** The error code for whoever may not do so with this group, else none. */
export function groupRefusal(call: Call, action: 'read' | 'configure', groupId: string): number {
  return call.services.topics.mayUseGroup(call.client.principal, action, groupId)
    ? NONE
    : ERRORS.GROUP_AUTHORIZATION_FAILED.code;
}

/** The error code that holds once what the core was told is durable: none, or that of the disk's refusal. */
export function codeWhenStored(call: Call): Promise<number> {
  return new Promise((resolve) => {
    call.services.core.whenStored((error) => resolve(error === null ? NONE : codeFromCoreError(error)));
  });
}
