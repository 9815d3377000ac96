/** Whether somebody accepts connections at a port of this machine. For tests that start programs and wait for them. */
import { connect } from 'node:net';

export const isListening = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
