/**
 * Short names for the settings that are set most, as flags and environment variables. The host's own stand here, those
 * of the protocols' ports are given by `src/main.ts`.
 */

export interface Shortcut {
  /** As on the command line, without `--`. */
  readonly flag: string;
  /** How help calls the value; empty for a switch, which is true where it stands without one. */
  readonly value: string;
  readonly description: string;
  /** The settings that it sets, all to the same value. */
  readonly paths: readonly string[];
}

export const HOST_SHORTCUTS: readonly Shortcut[] = [
  {
    flag: 'sidecar',
    value: '',
    description: 'run beside one service: loopback only, bounded memory',
    paths: ['gateway.sidecar'],
  },
  {
    flag: 'memory',
    value: 'MiB',
    description: 'memory that the process is meant for',
    paths: ['gateway.memoryMebibytes'],
  },
  { flag: 'data', value: 'folder', description: 'data folder', paths: ['storage.folder'] },
  {
    flag: 'durability',
    value: 'fsync|os',
    description: 'when a message counts as stored',
    paths: ['storage.durability'],
  },
  { flag: 'http-port', value: 'port', description: 'port of the HTTP API', paths: ['http.port'] },
  {
    flag: 'log-level',
    value: 'level',
    description: 'debug, info, warn, error or silent',
    paths: ['log.level'],
  },
];
