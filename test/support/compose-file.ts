/** docker-compose.yml as Docker Compose reads it: with variables from the caller, and the defaults and demands that stand there. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

const FILE = new URL('../../docker-compose.yml', import.meta.url);
/** `$$`, `${NAME:-default}`, `${NAME:?what to do}`. */
const VARIABLE = /\$\$|\$\{(\w+)(?::-([^}]*)|:\?([^}]*))?\}/g;

export interface ComposeService {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly args?: Readonly<Record<string, string>> };
  readonly user?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly healthcheck?: { readonly test?: readonly string[]; readonly disable?: boolean };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly stop_grace_period?: string;
}

export interface ComposeFile {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly networks: {
    readonly default: { readonly ipam: { readonly config: readonly { readonly subnet: string }[] } };
  };
}

/** What has to be set before the file can be read. */
export const DEMANDED = { ROSETTAMQ_API_KEY: '0123456789abcdef', RABBITMQ_PASSWORD: 'a password' };

export function readComposeFile(variables: Readonly<Record<string, string>> = DEMANDED): ComposeFile {
  const text = readFileSync(FILE, 'utf8').replace(
    VARIABLE,
    (whole, name?: string, otherwise?: string, demand?: string) => {
      if (name === undefined) return whole.slice(1);
      const value = variables[name] || otherwise;
      if (value === undefined) throw new Error(`${name}: ${demand}`);
      return value;
    },
  );
  return parse(text, { merge: true }) as ComposeFile;
}
