/** What a bridge out to AMQP 0-9-1 answers when its connection goes while some of a batch is confirmed; on a channel that is none. */
import { EventEmitter } from 'node:events';
import Value from 'typebox/value';
import { expect, it } from 'vitest';
import type { OutsideConnection } from '../../../adapters/bridge-amqp091/connection.ts';
import { Outbound } from '../../../adapters/bridge-amqp091/outbound.ts';
import { type OutOptions, outSettings } from '../../../adapters/bridge-amqp091/settings.ts';
import { Message } from '../../../src/core/index.ts';
import { LinkError, type LinkOptions, type OutsideMessage } from '../../../src/outside.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const quiet = { debug() {}, info() {}, warn() {}, error() {} };

async function outboundOn(channel: EventEmitter, lost: (error: Error) => void) {
  const clock = new ManualClock();
  const connection = {
    blocked: null,
    ended: null,
    model: { createConfirmChannel: async () => channel },
    tap: { contentBytesMax: 4_000, writerOf: () => ({ publish() {}, flush: () => true }) },
  };
  const link = { name: 'test', clock, logger: quiet, delivery: 'at-least-once', lost };
  const options = Value.Default(outSettings, {}) as OutOptions;
  const outbound = new Outbound(
    connection as unknown as OutsideConnection,
    link as unknown as LinkOptions,
    options,
    'guest',
  );
  await outbound.start();
  return { outbound, clock };
}

const batch = (count: number): OutsideMessage[] =>
  Array.from({ length: count }, (_, offset) => ({
    offset,
    message: new Message({ address: 'a', body: Buffer.from(String(offset)) }),
  }));

it('what was confirmed stays so, and the link is told to be lost when that was told', async () => {
  const channel = new EventEmitter();
  const lost: Error[] = [];
  const { outbound, clock } = await outboundOn(channel, (error) => lost.push(error));
  const sending = outbound.send(batch(4));
  channel.emit('ack', { deliveryTag: 2, multiple: true });
  channel.emit('ack', { deliveryTag: 4, multiple: false });
  outbound.fail(new LinkError('closed', 'gone'));
  expect(await sending).toEqual([null, null, { reason: 'gone', permanent: false, general: true }, null]);
  for (let step = 0; step < 20; step++) await null;
  expect(lost).toEqual([]);
  clock.endTurn();
  expect(lost.map(({ message }) => message)).toEqual(['gone']);
});

it('nothing is known where nothing was confirmed', async () => {
  const { outbound } = await outboundOn(new EventEmitter(), () => {});
  const sending = outbound.send(batch(2));
  outbound.fail(new LinkError('closed', 'gone'));
  await expect(sending).rejects.toThrow('gone');
});
