/** Settings of the log, section `log` of the configuration file. Read by `logger.ts`. */

import { type Static, Type } from '../host.ts';

export const logSettings = Type.Object(
  {
    level: Type.Union(
      [
        Type.Literal('debug'),
        Type.Literal('info'),
        Type.Literal('warn'),
        Type.Literal('error'),
        Type.Literal('silent'),
      ],
      {
        default: 'info',
        description:
          'What is logged: debug (every connection that ends), info (start, stop, connections that end for a reason ' +
          'to look at), warn, error or silent.',
      },
    ),
  },
  {
    additionalProperties: false,
    default: {},
    description: 'The log: one JSON object a line on standard output.',
  },
);

export type LogSettings = Static<typeof logSettings>;
