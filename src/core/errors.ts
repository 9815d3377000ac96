/**
 * What the core refuses, as a closed list. Every adapter maps each code to its own wire with a table that
 * `satisfies Record<CoreErrorCode, …>`, so a new code does not compile until every protocol has an answer.
 * Broken invariants are not here: those are assertions and stop the process.
 */
export const CORE_ERROR_CODES = [
  'not-found', // the named queue, exchange, stream or session does not exist
  'exists-differently', // declared again with other properties
  'invalid-name', // a name or pattern that no protocol may use
  'invalid-argument', // a property of a declaration that cannot be
  'in-use', // deletion refused: it has consumers or bindings
  'not-empty', // deletion refused: it holds messages
  'exclusive', // belongs to another connection
  'access-refused', // the principal may not do this
  'limit-reached', // a bound of limits.ts
  'message-too-large', // larger than the limit of the destination
  'overflow', // a queue with the policy "reject" is full
  'refused-by-rule', // a mapping rule cannot lead it on, and its policy is to tell the publisher
  'storage-failed', // the disk refused: full, read-only or broken
  'corrupt-batch', // a record batch whose checksum, lengths or counts are wrong
  'out-of-order-sequence', // an idempotent producer skipped a sequence number
  'stale-producer', // a newer epoch of this producer has written
  'unknown-producer', // a producer id that was never handed out
  'offset-out-of-range', // a read before the start or past the end of a log
  'shutting-down', // no new work is taken
] as const;

export type CoreErrorCode = (typeof CORE_ERROR_CODES)[number];

/** A refusal with a code for the adapter and a sentence for the human. */
export class CoreError extends Error {
  readonly code: CoreErrorCode;
  /** JSON pointer (RFC 6901) to the part of a definition that is wrong, where there is one. */
  readonly field: string | undefined;

  constructor(code: CoreErrorCode, message: string, options?: ErrorOptions & { readonly field?: string }) {
    super(message, options);
    this.name = 'CoreError';
    this.code = code;
    this.field = options?.field;
  }
}
