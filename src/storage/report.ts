/**
 * What the storage tells the operator: what recovery cut, which index was rebuilt, where the disk refuses. One
 * shape, the same as the core's events, so that the host can put both into its log.
 */

export interface StorageEvent {
  readonly level: 'info' | 'warn' | 'error';
  readonly text: string;
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

export type Report = (event: StorageEvent) => void;
