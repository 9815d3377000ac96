/**
 * A row log that lives as long as the process: for queues and sessions that are declared not durable. The same
 * contract as the durable one (the same tests run over both), without a disk.
 */

import type { Row, RowLog } from '../../core/storage.ts';
import { RowWindow } from './row-window.ts';

export class MemoryRowLog implements RowLog {
  readonly #window = new RowWindow(0);
  readonly #onDeleted: () => void;

  constructor(onDeleted: () => void) {
    this.#onDeleted = onDeleted;
  }

  get endOffset(): number {
    return this.#window.endOffset;
  }

  get rowCount(): number {
    return this.#window.count;
  }

  append(row: Uint8Array): number {
    return this.#window.append(row);
  }

  remove(offset: number): void {
    this.#window.remove(offset);
  }

  async read(offset: number, rowsMax: number, bytesMax: number): Promise<Row[]> {
    const rows: Row[] = [];
    this.#window.collect(rows, offset, rowsMax, bytesMax, 0);
    return rows;
  }

  clear(): void {
    this.#window.removeBefore(this.#window.endOffset);
  }

  async delete(): Promise<void> {
    this.clear();
    this.#onDeleted();
  }
}
