/** What a frame says of a PUBLISH, for tests that hold one which remembers packets against one that does not. */
import type { PublishFrame } from '../../adapters/mqtt/codec/publish.ts';
import type { ProtocolVersion } from '../../adapters/mqtt/codec/wire.ts';

/**
 * Reads a copy of the packet, whose length takes one byte, and tells every field. Then the copy is spoiled: what is remembered
 * must not follow the bytes that it was read from. Throws MqttError.
 */
export function readPublish(frame: PublishFrame, version: ProtocolVersion, packet: Uint8Array): object {
  const input = Buffer.from(packet);
  frame.read(version, input[0] as number, input, 2, input.length);
  const { qos, retain, topic, address, expirySeconds, priority, topicAlias, isText } = frame;
  const { hasResponseTopic, described } = frame;
  const [native, body] = [frame.native, frame.body].map(
    (bytes) => bytes && Buffer.from(bytes).toString('hex'),
  );
  const packetId = qos === 0 ? 0 : frame.packetId;
  input.fill(0xee);
  const ofProperties = { expirySeconds, priority, topicAlias, isText, hasResponseTopic, described };
  return { qos, retain, topic, address, ...ofProperties, native, body, packetId };
}
