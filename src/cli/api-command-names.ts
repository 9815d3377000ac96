/** Which commands only call the HTTP API of a running gateway: asked by `command.ts` before it loads anything else. */

/** First words of the commands that need no settings of a gateway. */
export const API_COMMANDS: ReadonlySet<string> = new Set([
  'users',
  'acl',
  'mapping',
  'sessions',
  'queues',
  'retained',
  'connections',
  'bridges',
  'import',
  'publish',
  'subscribe',
  'health',
]);
