/**
 * The PUBLISH that was read last, by whichever connection, as it came: who is to get the same bytes gets these, and a run
 * of such messages leaves in one piece where they are QoS 0. `publish.ts` says what was read, `../state/inbound.ts` which
 * message was made of it while that is being published, and `publish-encoder.ts` asks. One for all connections, as
 * publishing one is never interrupted by another: what is written later is put together anew.
 */

import type { Message, Reliability } from '../../../src/core/index.ts';

const NOTHING = Buffer.alloc(0);

class Arrived {
  /** Null while none is published that could leave as it came. */
  message: Message | null = null;
  /** All of its properties leave as they came, and its topic is the message's. */
  isWhole = false;
  /** Where the packet ends, and how long it is with its fixed header. */
  chunk: Buffer = NOTHING;
  end = 0;
  bytes = 0;
  version5 = false;
  qos: Reliability = 0;
  retain = false;
  /** Where the packet identifier is; with QoS 0 it is another packet's. */
  idAt = 0;
}

export const arrived = new Arrived();
