/**
 * A connection before an adapter hears of it: it may have to bring a PROXY header, to shake hands for TLS, to ask for a
 * WebSocket. All of that has one deadline, and whoever fails is turned away, counted and told to the log with the reason.
 * Made by `listener.ts` where a listener has such stages; ends in `pass` or `refuse`, or when the socket closes.
 */

import type { Socket } from 'node:net';
import type { Timer } from '../core/index.ts';
import type { ClientCertificate } from '../host.ts';
import type { NetContext } from './context.ts';
import { type Peer, plainAddress } from './peer.ts';

export class Arrival implements Peer {
  /** As it was accepted: what TLS and HTTP stand on. */
  readonly socket: Socket;
  remoteAddress: string;
  remotePort: number;
  localAddress: string;
  localPort: number;
  certificate: ClientCertificate | null = null;
  readonly #context: NetContext;
  readonly #listener: string;
  readonly #arrivals: Set<Arrival>;
  #timer: Timer | null;

  constructor(context: NetContext, listener: string, arrivals: Set<Arrival>, socket: Socket) {
    this.#context = context;
    this.#listener = listener;
    this.#arrivals = arrivals;
    this.socket = socket;
    this.remoteAddress = plainAddress(socket.remoteAddress);
    this.remotePort = socket.remotePort ?? 0;
    this.localAddress = plainAddress(socket.localAddress);
    this.localPort = socket.localPort ?? 0;
    const { handshakeTimeoutMs } = context.settings;
    this.#timer = context.clock.after(handshakeTimeoutMs, () => this.refuse('took too long'));
    arrivals.add(this);
    socket.on('error', ignore);
    socket.once('close', () => this.#leave());
  }

  get isWaiting(): boolean {
    return this.#timer !== null;
  }

  /** The adapter has it from here on. False: it is over already. */
  pass(): boolean {
    return this.#leave();
  }

  /** For one reason; a second one counts for nothing. `answer` says it to the client and ends the socket. */
  refuse(detail: string, answer: () => unknown = () => this.socket.destroy()): void {
    if (!this.#leave()) return;
    this.#context.countRefused(this.#listener);
    const remote = `${this.remoteAddress}:${this.remotePort}`;
    this.#context.logger.info({ listener: this.#listener, remote, detail }, 'connection refused');
    answer();
  }

  /** The listener closes: nobody waits for it any more. */
  drop(): void {
    if (this.#leave()) this.socket.destroy();
  }

  #leave(): boolean {
    if (this.#timer === null) return false;
    this.#timer.cancel();
    this.#timer = null;
    this.#arrivals.delete(this);
    return true;
  }
}

/** A socket that fails is closed next, which is what counts. */
function ignore(): void {}
