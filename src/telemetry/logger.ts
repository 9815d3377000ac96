/**
 * The log of the process: one JSON object a line on standard output, with the time as text, so that people and log
 * collectors read the same lines. Written at once, because the last lines before the end of a process matter most.
 * Nothing logs for each message.
 */

import { destination, pino, stdSerializers, stdTimeFunctions } from 'pino';
import type { Logger } from '../host.ts';
import type { LogSettings } from './settings.ts';

export function createLogger(settings: LogSettings): Logger {
  return pino(
    {
      level: settings.level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: stdSerializers.err },
    },
    destination({ fd: 1, sync: true }),
  );
}
