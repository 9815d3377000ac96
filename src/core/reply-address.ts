/**
 * The root of the addresses that answers are published to across protocols. What stands below it is a token of
 * `replies.ts`; mappings only give it a name of their protocol. No rule speaks of it and nobody subscribes to it.
 */

export const REPLY_ROOT = '$reply';
export const REPLY_PREFIX = `${REPLY_ROOT}/`;

/** Stands in for a correlation that a protocol cannot show: as unlike from token to token as their seals are. */
const MARK_CHARS = 22;

export function isReplyAddress(address: string): boolean {
  return address.startsWith(REPLY_PREFIX);
}

/** A short text that tells the requests of one responder apart, made from a reply address. */
export function markOfReply(address: string): string {
  return address.slice(-MARK_CHARS);
}
