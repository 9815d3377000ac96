import { describe, expect, it } from 'vitest';
import { LinkError } from '../../../src/outside.ts';
import { FakeOutside } from '../../support/fake-driver.ts';
import { openWorld, waitFor } from './bridge-world.ts';

/** Remembers how far it came, as Kafka does: what is not above that it has already. */
class RememberingOutside extends FakeOutside {
  override sentOffset: number | null = -1;

  constructor() {
    super();
    this.answer = () => null;
  }

  get bodiesKept(): string[] {
    let mark = -1;
    return this.got.flatMap(({ offset, message }) => {
      if (offset <= mark) return [];
      mark = offset;
      return [Buffer.from(message.body).toString()];
    });
  }
}

describe('a data folder that is put back from a backup', () => {
  it('gives no number again that the other side has seen, and what waited in it is not sent twice', async () => {
    const outside = new RememberingOutside();
    const world = await openWorld({ outside });
    await world.put({ delivery: 'exactly-once' });
    world.publish('a/1', '0');
    await waitFor(world, () => outside.got.length === 1);
    outside.refusal = new LinkError('unreachable', 'nobody there');
    outside.link.lose();
    world.publish('a/1', '1');
    await world.turn();
    const backup = world.storage.afterCrash();
    outside.refusal = null;
    world.clock.advance(30_000);
    for (let i = 2; i < 9; i++) world.publish('a/1', `${i}`);
    await waitFor(world, () => outside.got.length === 9);
    await world.close();

    outside.refusal = new LinkError('unreachable', 'nobody there');
    const again = await openWorld({ outside, storage: backup });
    // Before the first connection: more than the other side is ahead.
    for (let i = 0; i < 20; i++) again.publish('a/1', `new ${i}`);
    await again.turn();
    outside.refusal = null;
    again.clock.advance(30_000);
    await waitFor(again, () => again.view().status.lag.messages === 0);
    const old = Array.from({ length: 9 }, (_, i) => `${i}`);
    const young = Array.from({ length: 20 }, (_, i) => `new ${i}`);
    expect(outside.bodiesKept).toEqual([...old, ...young]);
    expect(outside.got.length).toBe(29);
    expect(again.lines.filter(({ text }) => text.includes('backup'))).toHaveLength(1);

    // Kept: the next process goes on with it.
    again.publish('a/1', 'later');
    await waitFor(again, () => outside.got.length === 30);
    await again.close();
    const third = await openWorld({ outside, storage: again.storage });
    third.publish('a/1', 'last');
    await waitFor(third, () => outside.got.length === 31);
    expect(outside.bodiesKept.slice(-2)).toEqual(['later', 'last']);
    expect(third.lines.filter(({ text }) => text.includes('backup'))).toHaveLength(0);
    await third.close();
  });
});
