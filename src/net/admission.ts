/**
 * Who is let in at all, decided before a connection costs anything: so many a second for each listener, so many at a
 * time from each address. Asked by `listener.ts` for each socket, and told of those that find the listener full. Those
 * turned away are counted, and the log tells of them once in a while and not one by one, for a crowd of them is what this
 * is against.
 */

import type { Socket } from 'node:net';
import { clientNetworkOf } from '../host.ts';
import type { NetContext } from './context.ts';
import { plainAddress } from './peer.ts';
import { TokenBucket } from './token-bucket.ts';

const TELL_MS = 10_000;

export class Admission {
  readonly #context: NetContext;
  readonly #listener: string;
  readonly #bucket: TokenBucket | null;
  readonly #perAddressMax: number;
  readonly #byAddress = new Map<string, number>();
  #untold = 0;
  #toldAtMs = Number.NEGATIVE_INFINITY;

  constructor(context: NetContext, listener: string) {
    const { connectionsPerSecondMax, connectionsPerAddressMax } = context.settings;
    this.#context = context;
    this.#listener = listener;
    this.#bucket = connectionsPerSecondMax > 0 ? new TokenBucket(connectionsPerSecondMax) : null;
    this.#perAddressMax = connectionsPerAddressMax;
  }

  /** By rate, for every socket; where it is not admitted it is closed. */
  admit(socket: Socket): boolean {
    if (this.#bucket === null || this.#bucket.take(this.#context.clock.nowMs())) return true;
    this.#turnAway(socket, 'more connections a second than network.connectionsPerSecondMax');
    return false;
  }

  /** By the client's address, once that is known; `socket` counts until it closes. */
  admitAddress(socket: Socket, address: string): boolean {
    if (this.#perAddressMax === 0) return true;
    const key = clientNetworkOf(address);
    const count = this.#byAddress.get(key) ?? 0;
    if (count >= this.#perAddressMax) {
      this.#turnAway(socket, 'more connections from one address than network.connectionsPerAddressMax');
      return false;
    }
    this.#byAddress.set(key, count + 1);
    socket.once('close', () => this.#forget(key));
    return true;
  }

  #forget(address: string): void {
    const count = (this.#byAddress.get(address) ?? 1) - 1;
    if (count === 0) this.#byAddress.delete(address);
    else this.#byAddress.set(address, count);
  }

  /** `node:net` has closed one, because the listener has all that it may have. */
  dropped(address: string | undefined): void {
    this.#tell(plainAddress(address), "as many connections as the listener's connectionsMax");
  }

  #turnAway(socket: Socket, detail: string): void {
    const remote = plainAddress(socket.remoteAddress);
    socket.on('error', ignore);
    // A reset leaves nothing behind on this machine, where an orderly end would; socket files know none.
    if (remote === '') socket.destroy();
    else socket.resetAndDestroy();
    this.#tell(remote, detail);
  }

  #tell(remote: string, detail: string): void {
    this.#context.countRefused(this.#listener);
    this.#untold++;
    const nowMs = this.#context.clock.nowMs();
    if (nowMs - this.#toldAtMs < TELL_MS) return;
    this.#context.logger.warn(
      { listener: this.#listener, remote, refused: this.#untold, detail },
      'connections refused',
    );
    this.#toldAtMs = nowMs;
    this.#untold = 0;
  }
}

/** It is gone, whatever else happens to it. */
function ignore(): void {}
