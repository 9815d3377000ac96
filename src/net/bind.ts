/**
 * Binds a server to its address. What the system refuses is told in one sentence that names the setting to change.
 */

import type { AddressInfo, Server } from 'node:net';
import type { ListenerSpec } from '../host.ts';
import { listenOnFile } from './socket-file.ts';

export interface BoundAddress {
  readonly host: string;
  readonly port: number;
}

export interface Listener {
  readonly spec: ListenerSpec;
  readonly bound: BoundAddress;
  /** Accepts nothing from now on; connections live on. */
  close(): void;
}

/** The operator can mend it: told without a stack. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
}

export async function listen(server: Server, spec: ListenerSpec, backlog: number): Promise<BoundAddress> {
  if (spec.socketFile !== undefined) {
    try {
      await listenOnFile(server, spec.socketFile, backlog);
    } catch (error) {
      throw new ListenError(`${spec.socketFile.path} cannot be listened on: ${(error as Error).message}`, {
        cause: error,
      });
    }
    return { host: spec.socketFile.path, port: 0 };
  }
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => reject(explainListenError(error, spec));
    server.once('error', onError);
    server.listen({ host: spec.host, port: spec.port, backlog }, () => {
      server.off('error', onError);
      const { address, port } = server.address() as AddressInfo;
      resolve({ host: address, port });
    });
  });
}

/** What the system said, in the operator's words. */
export function explainListenError(
  error: NodeJS.ErrnoException,
  spec: Pick<ListenerSpec, 'name' | 'host' | 'port' | 'option'>,
): ListenError {
  return new ListenError(explain(error, spec), { cause: error });
}

function explain(
  error: NodeJS.ErrnoException,
  spec: Pick<ListenerSpec, 'name' | 'host' | 'port' | 'option'>,
): string {
  const option = spec.option ?? `${spec.name.replaceAll('-', '.')}.port`;
  const place = `${spec.host.includes(':') ? `[${spec.host}]` : spec.host}:${spec.port}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return `${place} is in use by another program; stop it, or set ${option} to another port (0 lets the system choose)`;
    case 'EACCES':
      return `${place} may not be listened on by this user; set ${option} to a port above 1023`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `${spec.host} is no address of this machine; change the host beside ${option}`;
    default:
      return `${place} cannot be listened on (${option}): ${error.message}`;
  }
}
