/**
 * Finds the message that makes a broker end the connection, which would otherwise be sent again for ever with everything
 * behind it: Mosquitto ends connections without a word for a line feed in a user property. Kept for each bridge from one
 * link to the next, and asked by `sending.ts`.
 *
 * A connection that is lost once may be lost for any reason. When it is lost again before what was under way is through,
 * that is sent message by message; and the message that was alone on its way when connections ended so often, or when the
 * broker said that a packet is at fault, is refused for good.
 */

import type { Message } from '../../src/core/index.ts';
import { LinkError } from '../../src/outside.ts';
import { textsOf } from './codec.ts';
import { DisconnectError } from './errors.ts';

const LOSSES_ALONE_MAX = 3;
const NONE = -1;
/** MQTT 5.0 section 1.5.4: what text should not hold, and a receiver may end the connection for. */
const DISALLOWED =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
  /[\u0000-\u001f\u007f-\u009f\ufdd0-\ufdef\ufffe\uffff]/;

export function hasDisallowedText(text: string): boolean {
  return DISALLOWED.test(text);
}

export class Suspicion {
  /** Up to and with this offset a connection was lost. */
  #lostUntil = NONE;
  /** Up to and with this offset messages are sent alone. */
  #aloneUntil = NONE;
  #aloneOffset = NONE;
  #aloneLosses = 0;
  #guiltyOffset = NONE;
  #reason = '';
  /** The broker has ended connections for such text. */
  #refusesText = false;

  isAlone(offset: number): boolean {
    return offset <= this.#aloneUntil;
  }

  /** Why the broker cannot take the message; null where nothing speaks against it. `native`: its properties as they are sent. */
  verdict(offset: number, message: Message, native: Uint8Array | null): string | null {
    if (offset === this.#guiltyOffset) return this.#reason;
    if (!this.#refusesText || !isOfDisallowedText(message, native)) return null;
    return 'its topic or properties hold a control character, for which the broker ends the connection';
  }

  /** A connection ended while messages from offset `first` to offset `last` were under way. */
  lost(first: number, last: number, error: Error, message: Message, native: Uint8Array | null): void {
    const isSaid = error instanceof DisconnectError && error.isAboutPacket;
    const isSilent =
      error instanceof LinkError && error.failure === 'closed' && !(error instanceof DisconnectError);
    if (!isSaid && !isSilent) return;
    if (first !== last || !this.isAlone(last)) {
      if (isSaid || first <= this.#lostUntil) this.#aloneUntil = last;
      this.#lostUntil = last;
      return;
    }
    this.#aloneLosses = this.#aloneOffset === last ? this.#aloneLosses + 1 : 1;
    this.#aloneOffset = last;
    if (!isSaid && this.#aloneLosses < LOSSES_ALONE_MAX) return;
    this.#guiltyOffset = last;
    this.#reason = isSaid
      ? error.message
      : `the broker ended the connection ${this.#aloneLosses} times when it got this message alone`;
    this.#refusesText ||= isOfDisallowedText(message, native);
  }

  /** Everything up to and with `offset` has its answer. */
  passed(offset: number): void {
    if (this.#lostUntil === NONE || offset < this.#lostUntil) return;
    this.#lostUntil = NONE;
    this.#aloneUntil = NONE;
    this.#aloneOffset = NONE;
    this.#guiltyOffset = NONE;
  }
}

function isOfDisallowedText(message: Message, native: Uint8Array | null): boolean {
  return hasDisallowedText(message.address) || (native !== null && textsOf(native).some(hasDisallowedText));
}
