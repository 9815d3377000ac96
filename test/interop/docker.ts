/**
 * The Docker of this machine, for tests of the image and of docker-compose.yml: what keeps it from running containers, and
 * images, pulled where a registry answers and otherwise made of this machine's own programs by `test/peers/docker-*.sh`.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const GATEWAY_IMAGE = 'rosettamq-test/gateway';
export const BUILD_MS_MAX = 300_000;
const OFFICIAL_BASE = 'node:24-slim';
const LOCAL_BASE = 'rosettamq-test/node:24';
const PULL_MS_MAX = 60_000;

export function findObstacle(): string | null {
  const probe = spawnSync('docker', ['info', '--format', '{{.ServerVersion}} {{.OSType}}'], {
    encoding: 'utf8',
    timeout: 10_000,
  });
  if (probe.error !== undefined) return 'docker is not installed';
  if (probe.status !== 0) return `no Docker daemon answers: ${probe.stderr.trim().split('\n').at(-1)}`;
  return probe.stdout.trim().endsWith(' linux') ? null : 'this Docker runs no Linux containers';
}

/** What a command of Docker prints; its errors are in the error that is thrown. */
export const docker = (...args: string[]): string =>
  execFileSync('docker', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();

/** Whether the image is here, or can be had. */
export function isImageAvailable(image: string): boolean {
  const isHere = spawnSync('docker', ['image', 'inspect', image], { stdio: 'ignore' }).status === 0;
  if (isHere) return true;
  const pulled = spawnSync('docker', ['pull', '--quiet', image], { stdio: 'ignore', timeout: PULL_MS_MAX });
  return pulled.status === 0;
}

/** The image that the environment names, the official image where it is here or can be pulled, else one of this machine's own programs. */
export function findBase(): string {
  const named = process.env.ROSETTAMQ_TEST_NODE_IMAGE;
  if (named !== undefined) return named;
  if (isImageAvailable(OFFICIAL_BASE)) return OFFICIAL_BASE;
  // One that an earlier run made will do: what is built on it is then there as well.
  const label = ['image', 'inspect', '-f', '{{index .Config.Labels "node"}}', LOCAL_BASE];
  const made = spawnSync('docker', label, { encoding: 'utf8' });
  if (made.status === 0 && made.stdout.trim() === process.version) return LOCAL_BASE;
  execFileSync('bash', [join(ROOT, 'test/peers/docker-base.sh'), LOCAL_BASE, process.execPath]);
  return LOCAL_BASE;
}

export function buildGatewayImage(base = findBase()): void {
  execFileSync('docker', ['build', '-q', '-t', GATEWAY_IMAGE, '--build-arg', `NODE_IMAGE=${base}`, ROOT], {
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: BUILD_MS_MAX,
  });
}
