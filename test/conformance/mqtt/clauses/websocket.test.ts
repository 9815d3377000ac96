/** Chapter 6: MQTT in WebSocket frames. */

import { once } from 'node:events';
import { expect } from 'vitest';
import { WebSocket } from 'ws';
import { clause, unique, useGateway } from '../clause.ts';
import { publishedIn } from '../expectations.ts';
import { connect, pingreq, publish, subscribe, Type, type Version } from '../packets.ts';
import { RawClient } from '../raw-client.ts';

const server = useGateway();

async function open(
  version: Version,
  protocols: readonly string[] = ['mqtt'],
): Promise<[RawClient, WebSocket]> {
  const socket = new WebSocket(`ws://127.0.0.1:${server.websocketPort}/mqtt`, [...protocols]);
  const client = server.keep(new RawClient(version));
  socket.on('message', (data, isBinary) => {
    // What is no binary frame is not for the client's eyes.
    if (!isBinary) client.ended();
    else client.feed(data as Buffer);
  });
  socket.on('close', () => client.ended());
  socket.on('error', () => client.ended());
  client.use({ write: (bytes) => socket.send(bytes), destroy: () => socket.terminate() });
  await once(socket, 'open');
  return [client, socket];
}

clause(
  '3.1.1 [MQTT-6.0.0-1] | 5.0 [MQTT-6.0.0-1]',
  'answers come in binary frames, and a text frame closes',
  async (version) => {
    const [client, socket] = await open(version);
    expect((await client.connect({ clientId: unique('c') })).reason).toBe(0);
    expect(await client.fence()).toEqual([]);
    socket.send(pingreq().toString('latin1'), { binary: false });
    for (const { type } of await client.closed()) expect(type).toBe(Type.DISCONNECT);
  },
);

clause(
  '3.1.1 [MQTT-6.0.0-2] | 5.0 [MQTT-6.0.0-2]',
  'packets may lie across frames, and many in one',
  async (version) => {
    const [client] = await open(version);
    const topic = unique();
    const all = Buffer.concat([
      connect(version, { clientId: unique('c') }),
      subscribe(version, 1, [[topic, 0]]),
      ...Array.from({ length: 5 }, (_, n) => publish(version, topic, String(n))),
    ]);
    for (const byte of all.subarray(0, 60)) client.send(Buffer.from([byte]));
    client.send(all.subarray(60));
    expect((await client.next()).type).toBe(Type.CONNACK);
    expect((await client.next()).type).toBe(Type.SUBACK);
    expect(publishedIn(await client.fence())).toEqual([0, 1, 2, 3, 4].map((n) => `${topic}=${n}`));
  },
);

clause(
  '3.1.1 [MQTT-6.0.0-3] [MQTT-6.0.0-4] | 5.0 [MQTT-6.0.0-3] [MQTT-6.0.0-4]',
  'the server answers with the subprotocol mqtt',
  async (version) => {
    for (const offered of [['mqtt'], ['other', 'mqtt'], ['mqtt', 'other']]) {
      const [, socket] = await open(version, offered);
      expect(socket.protocol).toBe('mqtt');
    }
  },
);
