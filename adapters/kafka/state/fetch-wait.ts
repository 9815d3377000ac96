/**
 * The long poll of a fetch: waits until partitions have grown by so many bytes, until the time is over, or until the
 * client is gone. Partitions wake it at their next append; what was appended during one turn of the event loop is
 * looked at together when the turn is over.
 */

import type { Clock, Partition } from '../../../src/core/index.ts';
import type { Client } from '../services.ts';

export class FetchWait {
  readonly #clock: Clock;
  readonly #client: Client;

  constructor(clock: Clock, client: Client) {
    this.#clock = clock;
    this.#client = client;
  }

  /** Resolves to false where the client is gone and nobody needs an answer. */
  until(partitions: readonly Partition[], bytes: number, waitMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const sizes = partitions.map(({ sizeBytes }) => sizeBytes);
      const ends = partitions.map(({ endOffset }) => endOffset);
      const waits: (() => void)[] = [];
      let over = false;
      let looking = false;
      const finish = (answer: boolean): void => {
        if (over) return;
        over = true;
        timer.cancel();
        forgetClosing();
        for (const stop of waits) stop();
        resolve(answer);
      };
      const look = (): void => {
        looking = false;
        if (over) return;
        let grown = 0;
        for (let i = 0; i < partitions.length; i++) {
          const size = (partitions[i] as Partition).sizeBytes;
          // Retention may take old bytes away meanwhile, which is no loss to this reader.
          grown += Math.max(0, size - (sizes[i] as number));
        }
        if (grown >= bytes) finish(true);
      };
      const wake = (partition: Partition, i: number): void => {
        if (over) return;
        // Woken by no append: the stream was deleted. Smaller than before: what came since cannot be told.
        if (partition.endOffset === ends[i] || partition.sizeBytes < (sizes[i] as number)) {
          finish(true);
          return;
        }
        ends[i] = partition.endOffset;
        waits[i] = partition.onAppend(() => wake(partition, i));
        if (looking) return;
        looking = true;
        this.#clock.afterTurn(look);
      };
      const timer = this.#clock.after(waitMs, () => finish(true));
      const forgetClosing = this.#client.onClosed(() => finish(false));
      partitions.forEach((partition, i) => {
        waits[i] = partition.onAppend(() => wake(partition, i));
      });
    });
  }
}
