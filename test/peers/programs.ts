/**
 * Where the programs are that `install.sh` beside this file installs, and the words for what is missing. Interop tests
 * and benchmark ask here, so that both skip for the same reason and say the same.
 */
import { existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const CACHE = join(ROOT, '.cache/peers');

export type Peer =
  | 'mosquitto'
  | 'mosquitto-clients'
  | 'kcat'
  | 'curl'
  | 'rabbitmq'
  | 'java'
  | 'kafka'
  | 'artemis'
  | 'perf-test'
  | 'hivemq'
  | 'paho-go'
  | 'autopaho'
  | 'openssl'
  | 'python'
  | 'schemathesis'
  | 'taskset'
  | 'chrt';

/** Debian keeps servers in /usr/sbin, which is not on everybody's path. */
function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

const findFile = (...paths: string[]): string | undefined => paths.find((path) => existsSync(path));

const finders: Record<Peer, () => string | undefined> = {
  mosquitto: () => findProgram('mosquitto'),
  'mosquitto-clients': () => findProgram('mosquitto_pub'),
  kcat: () => findProgram('kcat'),
  curl: () => findProgram('curl'),
  // The packaged command changes to a user of its own; the server's script beside it does not.
  rabbitmq: () => findFile('/usr/lib/rabbitmq/bin/rabbitmq-server'),
  java: () => findProgram('java'),
  kafka: () => findFile(join(CACHE, 'kafka/version')) && findProgram('java') && join(CACHE, 'kafka/lib/*'),
  artemis: () =>
    findFile(join(CACHE, 'artemis/version')) &&
    findProgram('java') &&
    findFile(join(CACHE, 'artemis/home/bin/artemis')),
  'perf-test': () =>
    findFile(join(CACHE, 'perf-test/version')) && findProgram('java') && join(CACHE, 'perf-test/lib/*'),
  hivemq: () =>
    findFile(join(CACHE, 'hivemq/version')) && findProgram('javac') && join(CACHE, 'hivemq/lib/*'),
  'paho-go': () => findFile(join(CACHE, 'go/paho')),
  autopaho: () => findFile(join(CACHE, 'go/autopaho')),
  openssl: () => findProgram('openssl'),
  python: () => findFile(join(CACHE, 'python/version')) && join(CACHE, 'python/bin/python'),
  schemathesis: () =>
    findFile(join(CACHE, 'schemathesis/version')) && join(CACHE, 'schemathesis/bin/schemathesis'),
  taskset: () => findProgram('taskset'),
  chrt: () => findProgram('chrt'),
};

/** The program's path, or the Java class path for Kafka, PerfTest and HiveMQ. */
export function findPeer(peer: Peer): string | undefined {
  return finders[peer]();
}

export function locatePeer(peer: Peer): string {
  const path = findPeer(peer);
  if (path === undefined) throw new Error(`${peer} is not installed: run test/peers/install.sh`);
  return path;
}

/** One line that says what is missing, or null. */
export function describeMissing(...peers: Peer[]): string | null {
  const missing = peers.filter((peer) => findPeer(peer) === undefined);
  return missing.length === 0 ? null : `not installed: ${missing.join(', ')} (run test/peers/install.sh)`;
}
