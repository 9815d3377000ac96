/**
 * An Apache Artemis of a suite's own, with user `bridge`, that can be killed and started again at the same port with the same
 * journal. Addresses and queues are made when somebody names them.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { locatePeer } from '../../peers/programs.ts';
import { pickPort } from '../../support/ports.ts';
import { BrokerProcess, started } from './broker-process.ts';

export const LOGIN = { user: 'bridge', password: 'over troubled water' };

export class Artemis extends BrokerProcess {
  readonly #folder: string;

  constructor(folder: string, port: number) {
    super(port, [join(folder, 'broker/bin/artemis'), 'run'], { JAVA_ARGS: '-Xms128m -Xmx512m' });
    this.#folder = folder;
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export async function startArtemis(): Promise<Artemis> {
  const folder = mkdtempSync(join(tmpdir(), 'artemis-'));
  const port = await pickPort();
  const { user, password } = LOGIN;
  await promisify(execFile)(locatePeer('artemis'), [
    ...['create', join(folder, 'broker'), '--silent', '--require-login', '--user', user],
    ...['--password', password, '--host', '127.0.0.1', '--default-port', String(port)],
    ...['--no-web', '--no-amqp-acceptor', '--no-mqtt-acceptor', '--no-stomp-acceptor'],
    ...['--no-hornetq-acceptor', '--no-autotune', '--nio'],
  ]);
  return started(new Artemis(folder, port));
}
