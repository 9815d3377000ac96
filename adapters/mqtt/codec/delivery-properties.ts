/**
 * The MQTT 5 properties that a message is delivered with, where a request may need another response topic than its own
 * reply address: an address under `$reply`, to which every client can publish and which brings the answer to a requester
 * of another protocol. Used by the encoder and by the feeds of queues and streams. Requests of MQTT clients are shown as
 * they were sent.
 */

import { mqtt5Codec, mqttPropertiesFromMessage } from '../../../mappings/mqtt.ts';
import { isReplyAddress, type Message, type Replies } from '../../../src/core/index.ts';

/** Whose own reply address is no topic to publish to, or comes with its requester's right to do so. */
export function asksForReply(message: Message): boolean {
  if (message.codec === mqtt5Codec) return false;
  const { replyTo } = message.properties;
  if (replyTo === undefined || isReplyAddress(replyTo)) return false;
  return message.replyLent || replyTo.startsWith('$');
}

export function propertiesOfDelivery(message: Message, replies: Replies): Uint8Array {
  return mqttPropertiesFromMessage(message, asksForReply(message) ? replies.addressFor(message) : null);
}
