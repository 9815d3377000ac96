/** A broker of AMQP 0-9-1 with one queue of messages of one size, written with the codec of amqplib, on a real socket. */
import { createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { amqplib, BASIC_PROPERTIES } from '../amqp091/amqplib-codec.ts';

const FRAME_BYTES_MAX = 131_072;
const FRAME_OVERHEAD = 8;
const METHOD_FRAME = 1;
const BODY_FRAME = 3;
const HEARTBEAT_FRAME = 8;
const FRAME_END = 0xce;
const HEARTBEAT_MS = 5;
/** A client sends these before its first frame. */
const PROTOCOL_HEADER_BYTES = 8;

export interface ScriptedBroker {
  readonly port: number;
  /** Names of the methods that came, in their order, but acknowledgements. */
  readonly heard: string[];
  readonly heartbeats: number;
  readonly acknowledged: number;
}

export async function startScriptedBroker(count: number, bodyBytes: number): Promise<ScriptedBroker> {
  const heard: string[] = [];
  const counts = { heartbeats: 0, acknowledged: 0, sent: 0, prefetch: 0 };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const beat = (): void => {
      const timer = setInterval(
        () => socket.write(frameOf(HEARTBEAT_FRAME, 0, Buffer.alloc(0))),
        HEARTBEAT_MS,
      );
      socket.on('close', () => clearInterval(timer));
    };
    socket.on('error', () => socket.destroy());
    const say = (name: string, channel: number, fields: Record<string, unknown>): void => {
      socket.write(amqplib.encodeMethod(amqplib[name] as number, channel, fields));
    };
    const deliver = (): void => {
      while (counts.sent < count && counts.sent - counts.acknowledged < counts.prefetch) {
        const deliveryTag = ++counts.sent;
        const fields = {
          consumerTag: 'c',
          deliveryTag,
          redelivered: false,
          exchange: '',
          routingKey: 'queue',
        };
        say('BasicDeliver', 1, fields);
        socket.write(amqplib.encodeProperties(BASIC_PROPERTIES, 1, bodyBytes, {}));
        for (let left = bodyBytes; left > 0; ) {
          const piece = Math.min(left, FRAME_BYTES_MAX - FRAME_OVERHEAD);
          socket.write(frameOf(BODY_FRAME, 1, Buffer.alloc(piece, 'x')));
          left -= piece;
        }
      }
    };
    const answer = (name: string, channel: number, fields: Record<string, unknown>): void => {
      if (name === 'BasicAck') {
        counts.acknowledged = fields.multiple ? (fields.deliveryTag as number) : counts.acknowledged + 1;
        deliver();
        return;
      }
      heard.push(name);
      const { prefetchCount } = fields;
      if (name === 'BasicQos') counts.prefetch = prefetchCount as number;
      if (name === 'ConnectionStartOk') {
        say('ConnectionTune', 0, { channelMax: 10, frameMax: FRAME_BYTES_MAX, heartbeat: 1 });
      } else if (name !== 'ConnectionTuneOk' && `${name}Ok` in amqplib) {
        say(`${name}Ok`, channel, { consumerTag: 'c' });
      }
      if (name === 'ConnectionOpen') beat();
      if (name === 'BasicConsume') deliver();
    };
    let rest = Buffer.alloc(0);
    let isGreeted = false;
    socket.on('data', (bytes: Buffer) => {
      rest = Buffer.concat([rest, bytes]);
      if (!isGreeted) {
        isGreeted = true;
        rest = rest.subarray(PROTOCOL_HEADER_BYTES);
        say('ConnectionStart', 0, {
          versionMajor: 0,
          versionMinor: 9,
          serverProperties: {},
          mechanisms: Buffer.from('PLAIN'),
          locales: Buffer.from('en_US'),
        });
      }
      while (rest.length >= FRAME_OVERHEAD && rest.length >= FRAME_OVERHEAD + rest.readUInt32BE(3)) {
        const size = rest.readUInt32BE(3);
        const payload = rest.subarray(FRAME_OVERHEAD - 1, FRAME_OVERHEAD - 1 + size);
        if (rest[0] === HEARTBEAT_FRAME) counts.heartbeats++;
        if (rest[0] === METHOD_FRAME) {
          const id = payload.readUInt32BE(0);
          answer(amqplib.info(id).name, rest.readUInt16BE(1), amqplib.decode(id, payload.subarray(4)));
        }
        rest = rest.subarray(FRAME_OVERHEAD + size);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    port: (server.address() as { port: number }).port,
    heard,
    get heartbeats() {
      return counts.heartbeats;
    },
    get acknowledged() {
      return counts.acknowledged;
    },
  };
}

function frameOf(type: number, channel: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(FRAME_OVERHEAD - 1);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.of(FRAME_END)]);
}
