/**
 * A RabbitMQ of a suite's own that can be killed and started again at the same port with the same data, and asked to run
 * out of memory. With the plugin for AMQP 1.0 where a suite wants it.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { locatePeer } from '../../peers/programs.ts';
import { pickPort } from '../../support/ports.ts';
import { BrokerProcess, started } from './broker-process.ts';

export class RabbitMq extends BrokerProcess {
  readonly #folder: string;
  readonly #mapper: ChildProcess;

  constructor(folder: string, port: number, env: Readonly<Record<string, string>>, mapper: ChildProcess) {
    super(port, [locatePeer('rabbitmq')], env);
    this.#folder = folder;
    this.#mapper = mapper;
  }

  async control(...command: string[]): Promise<string> {
    const program = join(dirname(locatePeer('rabbitmq')), 'rabbitmqctl');
    const { stdout } = await promisify(execFile)(program, command, { env: { ...process.env, ...this.env } });
    return stdout;
  }

  async stop(): Promise<void> {
    await this.kill();
    this.#mapper.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export async function startRabbitMq(plugins: readonly string[] = []): Promise<RabbitMq> {
  const folder = mkdtempSync(join(tmpdir(), 'rabbitmq-'));
  const [port, mapperPort, distribution] = [await pickPort(), await pickPort(), await pickPort()];
  writeFileSync(
    join(folder, 'rabbitmq.conf'),
    `listeners.tcp.1 = 127.0.0.1:${port}\nlog.file.level = warning\n`,
  );
  writeFileSync(join(folder, 'enabled_plugins'), `[${plugins.join(',')}].\n`);
  const env = {
    HOME: folder,
    RABBITMQ_NODENAME: `bridge${mapperPort}@localhost`,
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    RABBITMQ_DIST_PORT: String(distribution),
    ERL_EPMD_PORT: String(mapperPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
  };
  const mapper = spawn('epmd', ['-port', String(mapperPort), '-address', '127.0.0.1'], { stdio: 'ignore' });
  return started(new RabbitMq(folder, port, env, mapper));
}
