/**
 * Listens on a Unix domain socket. A file that a process left behind when it was killed is replaced, but only when it is
 * a socket and nobody listens on it. Nobody can connect before the file has the mode that it should have, which is what
 * keeps others out. The system removes the file when the server closes. Called by `bind.ts`.
 */

import { chmod, lstat, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';

const NOBODY = 0o777;

export async function listenOnFile(
  server: Server,
  { path, mode }: { readonly path: string; readonly mode: number },
  backlog: number,
): Promise<void> {
  await removeStale(path);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // The file is made before `listen` returns.
    const before = process.umask(NOBODY);
    try {
      server.listen({ path, backlog }, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(before);
    }
  });
  await chmod(path, mode);
}

/** Throws where something is there that is not ours to remove. */
async function removeStale(path: string): Promise<void> {
  try {
    if (!(await lstat(path)).isSocket()) throw new Error('there is a file, which is no socket');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  if (await isListening(path)) throw new Error('another program listens on it');
  await unlink(path);
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else reject(error);
    });
  });
}
