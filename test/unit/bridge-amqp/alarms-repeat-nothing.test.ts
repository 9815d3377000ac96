/** A bridge out to AMQP 0-9-1 whose broker reads nothing for a while: what it was sent before is not sent a second time. */
import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import type { OutsideConnection } from '../../../adapters/bridge-amqp091/connection.ts';
import { Outbound } from '../../../adapters/bridge-amqp091/outbound.ts';
import { type OutOptions, outSettings } from '../../../adapters/bridge-amqp091/settings.ts';
import { Message } from '../../../src/core/index.ts';
import type { LinkOptions, OutsideMessage } from '../../../src/outside.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { defaultsOf } from '../mqtt/schema-defaults.ts';

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
/** A batch waits so long for a broker that reads nothing. */
const HOLD_MS = 1000;

/** A broker that is told of the bodies that reach it, in their order, and whose alarm a test turns on and off. */
async function startBroker() {
  const clock = new ManualClock();
  const channel = new EventEmitter();
  const bodies: string[] = [];
  const connection = {
    blocked: null as string | null,
    ended: null,
    model: { createConfirmChannel: async () => channel },
    tap: {
      contentBytesMax: 4_000,
      writerOf: () => ({
        publish: (_route: unknown, _mandatory: unknown, _content: unknown, body: Uint8Array) =>
          void bodies.push(Buffer.from(body).toString()),
        flush: () => true,
      }),
    },
  };
  const link = { name: 'test', clock, logger: quiet, delivery: 'at-least-once', lost() {} };
  const outbound = new Outbound(
    connection as unknown as OutsideConnection,
    link as unknown as LinkOptions,
    defaultsOf(outSettings) as OutOptions,
    'guest',
  );
  await outbound.start();
  const alarm = (reason: string | null): void => {
    connection.blocked = reason;
    outbound.blocked(reason);
  };
  /** Whatever it was sent so far; of what it was not sent nobody hears. */
  const confirm = (): void => void channel.emit('ack', { deliveryTag: bodies.length, multiple: true });
  return { alarm, bodies, clock, confirm, outbound };
}

const outgoing = (...offsets: number[]): OutsideMessage[] =>
  offsets.map((offset) => ({
    offset,
    message: new Message({ address: `a/${offset}`, body: Buffer.from(String(offset)) }),
  }));

const notYet = { permanent: false, general: true };

it('an address that was tried again, and then others, when the alarm began', async () => {
  const { alarm, bodies, clock, confirm, outbound } = await startBroker();
  // The first of an address that had to wait is tried alone; the alarm begins before the broker has answered.
  const trial = outbound.send(outgoing(3));
  alarm('memory');
  clock.advance(HOLD_MS);
  expect(await trial).toMatchObject([notYet]);
  // Meanwhile it is the turn of what came later, to other addresses.
  expect(await outbound.send(outgoing(50, 51))).toMatchObject([notYet, notYet]);
  alarm(null);
  confirm();
  const others = outbound.send(outgoing(50, 51));
  confirm();
  expect(await others).toEqual([null, null]);
  const again = outbound.send(outgoing(3));
  confirm();
  expect(await again).toEqual([null]);
  expect(bodies).toEqual(['3', '50', '51']);
});

it('several of them, in whatever order their addresses are tried', async () => {
  const { alarm, bodies, clock, confirm, outbound } = await startBroker();
  const trial = outbound.send(outgoing(9, 4));
  alarm('disk');
  clock.advance(HOLD_MS);
  expect(await trial).toMatchObject([notYet, notYet]);
  alarm(null);
  const again = outbound.send(outgoing(9, 4));
  confirm();
  expect(await again).toEqual([null, null]);
  expect(bodies).toEqual(['9', '4']);
});
