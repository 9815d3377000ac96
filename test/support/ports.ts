/**
 * Free ports of 127.0.0.1 for programs that have to be told theirs. Below those that systems give to connections: while nobody
 * listens at such a port, a client that keeps trying could be given that very port, and be connected to itself.
 */
import { createServer } from 'node:net';

const FIRST = 15_000;
/** Of one worker of the test runner: what one has picked for a program that takes seconds to listen, no other picks meanwhile. */
const COUNT = 1_000;
const WORKERS = 16;
const ATTEMPTS_MAX = 100;

/** The last ones, in their order. */
const picked = new Set<number>();
const PICKED_MAX = 200;

/** Nobody listens there now, and nobody else in this process was given it lately. */
export async function pickPort(): Promise<number> {
  const first = FIRST + COUNT * (Number(process.env.VITEST_POOL_ID ?? 0) % WORKERS);
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const port = first + Math.floor(Math.random() * COUNT);
    if (picked.has(port)) continue;
    picked.add(port);
    if (picked.size > PICKED_MAX) picked.delete(picked.values().next().value as number);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port from ${first} to ${first + COUNT - 1}`);
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
