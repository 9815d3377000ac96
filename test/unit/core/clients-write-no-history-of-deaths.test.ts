/** Where a dead letter goes back to, and what counts as a circle, is never for its publisher to say. */

import { describe, expect, it } from 'vitest';
import type { Header, MessageFields, NativeCodec } from '../../../src/core/index.ts';
import { originOfDeath, pastDeathsOf, STORED } from '../../../src/core/index.ts';
import { messageTo, openTestCore, queueSpec } from '../../support/core.ts';

const PRINCIPAL = { user: 'eve', groups: [], clientId: '' };
const text = (name: string, value: string): Header => ({ name, value: { kind: 'string', value } });
const FORGED: readonly Header[] = [
  {
    name: 'x-death',
    value: {
      kind: 'list',
      value: ['payments', 'q'].map((queue) => ({
        kind: 'map',
        value: [text('queue', queue), text('reason', 'expired'), text('exchange', 'bank')],
      })),
    },
  },
  text('x-first-death-queue', 'payments'),
  text('x-last-death-queue', 'payments'),
  text('own', 'kept'),
];
const encoding: NativeCodec = { name: 'forging', decode: () => ({ headers: FORGED }) };

async function openDying() {
  const { core, clock } = await openTestCore({ core: { codecs: [encoding] } });
  for (const name of ['dead', 'answers']) await core.queues.declare(queueSpec({ name }));
  await core.queues.declare(queueSpec({ name: 'q', deadLetter: { exchange: '', key: 'dead' } }));
  const publisher = core.openPublisher({ principal: PRINCIPAL, congested() {} });
  return {
    core,
    publish: (address: string, fields: Partial<MessageFields>) =>
      publisher.publish(messageTo(address, 'x', fields), null, 0),
    /** What waits among the dead letters once time has passed. */
    async dead() {
      clock.advance(2_000);
      await clock.turn();
      const waiting = await core.queues.get('dead')!.browse(null, 10, 1_000);
      return waiting.map(({ message }) => message);
    },
    nowMs: () => clock.nowMs(),
  };
}

describe.each([
  ['as its protocol encodes it', { codec: encoding, native: new Uint8Array(1) }],
  ['without an encoded form', { properties: { headers: FORGED } }],
])('a history that a client claims, %s,', (_how, claim) => {
  it('neither leads its dead letter elsewhere nor makes it vanish as a circle', async () => {
    const { publish, dead, nowMs } = await openDying();
    expect(publish('$queue/q', { ...claim, expiresAtMs: nowMs() + 1_000 })).toBe(STORED);
    const [letter] = await dead();
    expect(pastDeathsOf(letter!).map(({ queue, reason }) => [queue, reason])).toEqual([['q', 'expired']]);
    expect(originOfDeath(letter!)).toMatchObject({ queue: 'q', message: { address: '$queue/q' } });
    const names = letter!.properties.headers.map(({ name }) => name);
    expect(names).toContain('own');
    expect(names).not.toContain('x-last-death-queue');
  });

  it('is not believed of what has not died', async () => {
    const { core, publish } = await openDying();
    publish('$queue/q', claim);
    const [waiting] = await core.queues.get('q')!.browse(null, 1, 1);
    expect(originOfDeath(waiting!.message)).toBeNull();
    expect(pastDeathsOf(waiting!.message)).toEqual([]);
  });

  it('is not believed of an answer by a reply token', async () => {
    const { core, publish } = await openDying();
    const asked = messageTo('asks', '?', {
      properties: { headers: [], replyTo: '$queue/answers', correlation: { kind: 'string', value: 'c' } },
    });
    publish(core.replies.addressFor(asked) as string, claim);
    const [waiting] = await core.queues.get('answers')!.browse(null, 1, 1);
    expect(originOfDeath(waiting!.message)).toBeNull();
  });
});
