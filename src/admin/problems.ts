/**
 * Errors of the HTTP API as problem details (RFC 9457, `application/problem+json`). Every one of them says which
 * part of the request is meant: `in` is body, query, path or header, and `pointer` a JSON pointer (RFC 6901) into
 * it. Thrown by routes and hooks, written by the one error handler in `index.ts`; nothing internal gets out.
 */

import { CoreError, type CoreErrorCode } from '../core/index.ts';

export type ProblemPlace = 'body' | 'query' | 'path' | 'header';

export interface ProblemError {
  readonly in: ProblemPlace;
  readonly pointer: string;
  readonly detail: string;
}

/** A closed list; documented one by one in docs/api.md. */
export const PROBLEMS = {
  'invalid-request': { status: 400, title: 'The request is not valid' },
  'invalid-body': { status: 400, title: 'The body cannot be read' },
  unauthorized: { status: 401, title: 'Who calls is not known' },
  'host-not-allowed': { status: 403, title: 'This Host header is not allowed' },
  'access-refused': { status: 403, title: 'Not allowed' },
  'not-found': { status: 404, title: 'There is no such thing' },
  'method-not-allowed': { status: 405, title: 'This method is not for this path' },
  'request-timeout': { status: 408, title: 'The request took too long' },
  conflict: { status: 409, title: 'It conflicts with what exists' },
  'precondition-failed': { status: 412, title: 'It was changed in the meantime' },
  'body-too-large': { status: 413, title: 'The body is too large' },
  'unsupported-media-type': { status: 415, title: 'The body must be application/json or application/yaml' },
  'refused-by-rule': { status: 422, title: 'A mapping refuses the message' },
  'limit-reached': { status: 429, title: 'A limit is reached' },
  'internal-error': { status: 500, title: 'The gateway failed; its log says why' },
  unavailable: { status: 503, title: 'Not now' },
} as const satisfies Record<string, { readonly status: number; readonly title: string }>;

export type ProblemCode = keyof typeof PROBLEMS;

/** What the API answers to each refusal of the core. */
const PROBLEM_BY_CORE_CODE = {
  'not-found': 'not-found',
  'exists-differently': 'conflict',
  'invalid-name': 'invalid-request',
  'invalid-argument': 'invalid-request',
  'in-use': 'conflict',
  'not-empty': 'conflict',
  exclusive: 'conflict',
  'access-refused': 'access-refused',
  'limit-reached': 'limit-reached',
  'message-too-large': 'body-too-large',
  overflow: 'limit-reached',
  'refused-by-rule': 'refused-by-rule',
  'storage-failed': 'unavailable',
  'corrupt-batch': 'invalid-request',
  'out-of-order-sequence': 'conflict',
  'stale-producer': 'conflict',
  'unknown-producer': 'conflict',
  'offset-out-of-range': 'invalid-request',
  'shutting-down': 'unavailable',
} as const satisfies Record<CoreErrorCode, ProblemCode>;

export class Problem extends Error {
  readonly code: ProblemCode;
  readonly errors: readonly [ProblemError, ...ProblemError[]];
  /** Extra response headers. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: ProblemCode,
    errors: readonly [ProblemError, ...ProblemError[]],
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(errors[0].detail);
    this.name = 'Problem';
    this.code = code;
    this.errors = errors;
    this.headers = headers;
  }

  get status(): number {
    return PROBLEMS[this.code].status;
  }

  /** The body; `instance` is the request's path. */
  toDetails(instance: string): object {
    const { status, title } = PROBLEMS[this.code];
    const [first] = this.errors;
    return {
      type: `urn:rosettamq:problem:${this.code}`,
      title,
      status,
      detail: first.detail,
      instance,
      code: this.code,
      in: first.in,
      pointer: first.pointer,
      errors: this.errors,
    };
  }
}

export function problem(
  code: ProblemCode,
  place: ProblemPlace,
  pointer: string,
  detail: string,
  headers?: Readonly<Record<string, string>>,
): Problem {
  return new Problem(code, [{ in: place, pointer, detail }], headers);
}

export function notFound(pointer: string, what: string): Problem {
  return problem('not-found', 'path', pointer, what);
}

/**
 * A refusal of the core while it did what the request asked. `base` is where in the request the definition stands
 * that the core complained about.
 */
export function problemFromCore(error: CoreError, place: ProblemPlace = 'body', base = ''): Problem {
  return problem(PROBLEM_BY_CORE_CODE[error.code], place, `${base}${error.field ?? ''}`, error.message);
}

/** Any thrown value as a problem. `unexpected` is told what must not be shown to the caller. */
export function problemFromError(error: unknown, unexpected: (error: unknown) => void): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof CoreError) return problemFromCore(error);
  switch ((error as { code?: unknown } | null)?.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return problem('body-too-large', 'body', '', 'the body is larger than http.bodyBytesMax allows');
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return problem(
        'unsupported-media-type',
        'header',
        '/content-type',
        'send Content-Type: application/json, or application/yaml',
      );
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return problem('invalid-body', 'body', '', 'the body is empty');
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
      return problem('invalid-body', 'body', '', 'the body is not valid JSON');
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return problem(
        'invalid-request',
        'header',
        '/content-length',
        'Content-Length is not the body’s length',
      );
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return problem('invalid-request', 'path', '', 'the path cannot be read');
    default:
      break;
  }
  if ((error as { statusCode?: unknown } | null)?.statusCode === 400) {
    // Among others what the JSON parser refuses: `__proto__` as a name.
    return problem('invalid-body', 'body', '', 'the body cannot be read');
  }
  unexpected(error);
  return problem('internal-error', 'path', '', 'something went wrong that should not; it was logged');
}
