/** A message that is sent back is in one of two queues, and waits there, whatever becomes of the other queue. */

import { expect, it } from 'vitest';
import { redrive, type WayBack, wayBack } from '../../../src/admin/redrive.ts';
import { CoreError, PLAIN_DELIVERY, type Queue } from '../../../src/core/index.ts';
import { messageTo, openTestCore, queueSpec } from '../../support/core.ts';

async function openQueues() {
  const { core } = await openTestCore();
  const from = await core.queues.declare(queueSpec({ name: 'from' }));
  const to = await core.queues.declare(queueSpec({ name: 'to' }));
  from.offer(messageTo('$queue/from', 'x'), PLAIN_DELIVERY);
  const [waiting] = await from.browse(null, 1, 1);
  const { offset, message } = waiting!;
  return { core, from, to, offset, way: wayBack(core, message, from, 'to') };
}

const counts = (queue: Queue) => [queue.readyCount, queue.unsettledCount];

it('goes where it is sent', async () => {
  const { core, from, to, offset, way } = await openQueues();
  expect(await redrive(core, from, offset, way)).toBeNull();
  expect([counts(from), counts(to)]).toEqual([
    [0, 0],
    [1, 0],
  ]);
});

it('stays, and waits again, where the disk refuses it', async () => {
  const { core, from, to, offset, way } = await openQueues();
  to.offer = () => {
    throw new CoreError('storage-failed', 'the disk is full');
  };
  expect(await redrive(core, from, offset, way)).toMatchObject({ code: 'unavailable' });
  expect(counts(from)).toEqual([1, 0]);
});

it('stays, and waits again, where something fails that should not', async () => {
  const { core, from, to, offset, way } = await openQueues();
  to.offer = () => {
    throw new Error('a bug');
  };
  await expect(redrive(core, from, offset, way)).rejects.toThrow('a bug');
  expect(counts(from)).toEqual([1, 0]);
});

it('stays where its queue is deleted while it is being taken', async () => {
  const { core, from, offset, way } = await openQueues();
  const going: Promise<unknown> = redrive(core, from, offset, way);
  await core.queues.delete('to', { ifUnused: false, ifEmpty: false });
  expect(await going).toMatchObject({
    code: 'conflict',
    message: 'there is no queue to: say by `queue` where else it is to go',
  });
  expect(counts(from)).toEqual([1, 0]);
});

it('goes into the queue that has the name when it goes', async () => {
  const { core, from, offset, way } = await openQueues();
  const old: WayBack = way;
  await core.queues.delete('to', { ifUnused: false, ifEmpty: false });
  const next = await core.queues.declare(queueSpec({ name: 'to' }));
  expect(await redrive(core, from, offset, old)).toBeNull();
  expect(counts(next)).toEqual([1, 0]);
});

it('is not taken by a queue that was deleted', async () => {
  const { core, to } = await openQueues();
  await core.queues.delete('to', { ifUnused: false, ifEmpty: false });
  expect(to.offer(messageTo('a', 'x'), PLAIN_DELIVERY)).toBe(false);
});
