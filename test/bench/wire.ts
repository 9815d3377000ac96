/**
 * A socket for load generators: one shared read buffer, incomplete packets carried over to the next read, and output
 * gathered into one write. The protocols' clients derive from it. `feed` sees bytes that are valid only during the call.
 * Over TLS the library hands over buffers of its own; certificates are made for the run, so they are not looked at.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** Every client reads into the same buffer: the bytes are used up before the next read. */
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);

export abstract class WireClient {
  readonly #socket: Socket;
  #carry: Buffer | null = null;
  #out = Buffer.allocUnsafeSlow(64 * 1024);
  #outBytes = 0;
  #closing = false;
  /** Sends what `feed` answered at once; a loop that flushes by itself turns it off. */
  autoFlush = true;
  /** Called after each read. */
  onRead: (() => void) | null = null;
  readonly opened: Promise<void>;

  constructor(port: number, tls = false) {
    this.#socket = tls ? this.#connectTls(port) : this.#connect(port);
    this.opened = new Promise((resolve, reject) => {
      this.#socket.once(tls ? 'secureConnect' : 'connect', resolve);
      this.#socket.once('error', reject);
    });
    this.#socket.on('error', (error) => this.#fail(error.message));
    this.#socket.on('close', () => this.#fail('closed by the broker'));
  }

  #connectTls(port: number): Socket {
    const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false });
    socket.setNoDelay(true);
    socket.on('data', (bytes: Buffer) => this.#read(bytes, bytes.length));
    return socket;
  }

  #connect(port: number): Socket {
    return connect({
      host: '127.0.0.1',
      port,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (bytes: number) => {
          this.#read(readBuffer, bytes);
          return true;
        },
      },
    });
  }

  /** Takes whole packets from the front of `bytes[0..end)` and returns how many bytes they were. */
  protected abstract feed(bytes: Buffer, end: number): number;

  /** A loss of the connection ends the run: no broker may drop a client that keeps the rules. */
  #fail(reason: string): void {
    if (this.#closing) return;
    process.stderr.write(`${this.constructor.name}: ${reason}\n`);
    process.exit(3);
  }

  #read(chunk: Buffer, length: number): void {
    let bytes = chunk;
    let end = length;
    if (this.#carry !== null) {
      bytes = Buffer.concat([this.#carry, chunk.subarray(0, length)]);
      end = bytes.length;
    }
    const used = this.feed(bytes, end);
    this.#carry = used === end ? null : Buffer.from(bytes.subarray(used, end));
    if (this.autoFlush) this.flush();
    this.onRead?.();
  }

  /** True while the kernel has not taken everything. */
  get blocked(): boolean {
    return this.#socket.writableLength > 0;
  }

  /** Room in the output buffer; the caller fills it before `flush`. */
  protected reserve(bytes: number): { readonly buffer: Buffer; readonly at: number } {
    if (this.#outBytes + bytes > this.#out.length) this.flush();
    if (bytes > this.#out.length) this.#out = Buffer.allocUnsafeSlow(bytes * 2);
    const at = this.#outBytes;
    this.#outBytes += bytes;
    return { buffer: this.#out, at };
  }

  protected send(bytes: Uint8Array): void {
    const { buffer, at } = this.reserve(bytes.length);
    buffer.set(bytes, at);
  }

  flush(): void {
    if (this.#outBytes === 0) return;
    this.#socket.write(this.#out.subarray(0, this.#outBytes));
    // What the kernel took at once may be overwritten; the rest is still needed by the socket.
    if (this.#socket.writableLength > 0) this.#out = Buffer.allocUnsafeSlow(this.#out.length);
    this.#outBytes = 0;
  }

  end(): void {
    this.#closing = true;
    this.flush();
    this.#socket.end();
  }
}
