/** A handler that has seen its output above the mark hears of its fall, also where that happens within one turn. */
import { Socket } from 'node:net';
import { expect, it } from 'vitest';
import { SystemClock } from '../../../src/clock.ts';
import type { ConnectionHandler } from '../../../src/host.ts';
import { BufferedTransport } from '../../../src/net/buffered-transport.ts';
import { Network } from '../../../src/net/network.ts';
import { DEFAULT_NETWORK } from './net-world.ts';

/** A socket whose kernel takes bytes when the test says so. */
class HeldTransport extends BufferedTransport {
  held = 0;
  protected override get unsentBytes(): number {
    return this.held;
  }
  override readonly localAddress = '127.0.0.1';
  override readonly localPort = 1;
  override pause(): void {}
  override resume(): void {}
  protected override sendPiece(piece: Uint8Array): void {
    this.held += piece.length;
  }
  protected override sendPieces(pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) this.sendPiece(piece);
  }
  protected override awaitSent(): void {}
  protected override endSocket(): void {}
  protected override destroySocket(): void {}

  kernelTakesAll(): void {
    this.held = 0;
    this.unblock();
  }
}

it('is told although the kernel caught up between the look and the end of the turn', async () => {
  const clock = new SystemClock((error) => expect.fail(String(error)));
  const logger = { debug() {}, info() {}, warn() {}, error() {} };
  const network = new Network(clock, DEFAULT_NETWORK, logger);
  const listener = { name: 'test', transport: 'tcp' as const, highWaterBytes: 1_000 };
  const transport = new HeldTransport(network, listener, new Socket(), null);
  let drained = 0;
  transport.handler = {
    received() {},
    drained: () => drained++,
    closed() {},
    disconnect() {},
    identity: null,
    describe: () => ({ protocol: '', clientId: '', user: '', details: {} }),
  } as ConnectionHandler;
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

  transport.write(new Uint8Array(900));
  await turn();
  transport.write(new Uint8Array(400));
  expect(transport.pendingBytes).toBe(1_300);
  transport.kernelTakesAll();
  await turn();
  transport.kernelTakesAll();
  await turn();
  expect(drained).toBe(1);
});
