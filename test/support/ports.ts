/**
 * Free ports of 127.0.0.1 for programs that have to be told theirs. Below those that systems give to connections: while nobody
 * listens at such a port, a client that keeps trying could be given that very port, and be connected to itself.
 */
import { createServer } from 'node:net';

const FIRST = 15_000;
const COUNT = 15_000;
const ATTEMPTS_MAX = 100;

/** Nobody listens there now. */
export async function pickPort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const port = FIRST + Math.floor(Math.random() * COUNT);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port from ${FIRST} to ${FIRST + COUNT - 1}`);
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
