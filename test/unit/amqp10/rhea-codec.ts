/** The message codec of rhea, an independent implementation of AMQP 1.0 to compare ours with. */

import rhea, { type Message as RheaMessage } from 'rhea';

interface RheaCodec {
  encode(message: Partial<RheaMessage>): Buffer;
  decode(bytes: Buffer): RheaMessage;
  data_section(bytes: Buffer): unknown;
  data_sections(parts: readonly Buffer[]): unknown;
  sequence_section(values: readonly unknown[]): unknown;
}

export const rheaCodec = rhea.message as unknown as RheaCodec;
export const { types } = rhea;
