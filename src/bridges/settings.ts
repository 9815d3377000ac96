/** Connections and bridges as the configuration defines them. What is in one is checked by the registry, when it starts. */

import { Type } from '../schema-types.ts';

const definition = Type.Object({}, { additionalProperties: true });

export const connectionsSetting = Type.Record(Type.String(), definition, {
  default: {},
  writeOnly: true,
  description:
    'Outside brokers by name, for bridges: type says of which kind each is, and what else it says depends on that. ' +
    'Secrets are text, {env: NAME} or {file: PATH}; the latter are read each time a bridge connects. What is defined ' +
    'here cannot be changed over the API. The environment variable holds the whole map as YAML or JSON.',
});

export const bridgesSetting = Type.Record(Type.String(), definition, {
  default: {},
  description:
    'Bridges by name: messages that lead out to a connection, or in from one. The first mapping that takes a message is ' +
    'the only one. What is defined here can be paused and reset over the API, and changed only here. The environment ' +
    'variable holds the whole map as YAML or JSON.',
});
