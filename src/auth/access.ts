/**
 * Opens what decides who may do what: the rules of the configuration file, of a file in Mosquitto's syntax and of the
 * data folder, put together. Called once by `src/gateway.ts`.
 */

import type { Access, Clock } from '../core/index.ts';
import type { Storage } from '../core/storage.ts';
import type { Logger } from '../host.ts';
import { Acl } from './acl.ts';
import { rulesFromAclFile } from './acl-file.ts';
import { type AclRule, ruleFromDefinition } from './acl-rule.ts';
import { type AccessRule, type AccessRules, RuntimeRules } from './acl-rules.ts';
import type { AclSettings } from './acl-settings.ts';
import { WatchedFile } from './watched-file.ts';

const TABLE = 'access-rules';

export interface OpenAccess {
  readonly access: Access;
  readonly rules: AccessRules;
  /** Reads the file again now. Throws Error with what is wrong in it; the earlier rules stay then. */
  reload(): Promise<void>;
  /** Stops looking at the file. */
  close(): void;
}

/** Throws Error that tells the operator which rule is wrong, and where it stands. */
export async function openAccess(
  settings: AclSettings,
  storage: Pick<Storage, 'openTable' | 'commit'>,
  clock: Clock,
  logger: Logger,
): Promise<OpenAccess> {
  const acl = new Acl(settings.default, settings.answersPerClientMax);
  const whenStored = (): Promise<void> =>
    new Promise((resolve, reject) => storage.commit((error) => (error === null ? resolve() : reject(error))));
  const rules = await RuntimeRules.load(acl, await storage.openTable(TABLE), whenStored, settings.rulesMax);
  const configured = settings.rules.map((definition, index) => configuredRule(definition, index));
  rules.setFixed(
    'configuration',
    configured.map(({ shown }) => shown),
    configured.map(({ rule }) => rule),
  );
  if (settings.file === '') return { access: acl, rules, reload: async () => {}, close: () => {} };
  const path = settings.file;
  const file = new WatchedFile({
    path,
    setting: 'auth.acl.file',
    clock,
    logger,
    take(text) {
      const read = rulesFromAclFile(text, path, settings.rulesMax);
      rules.setFixed(
        'file',
        read.map(({ line, text: definition }) => ({ name: `${path}:${line}`, source: 'file', definition })),
        read.map(({ rule }) => rule),
      );
      return read.length;
    },
  });
  await file.open();
  return { access: acl, rules, reload: () => file.reload(), close: () => file.close() };
}

function configuredRule(
  definition: AclSettings['rules'][number],
  index: number,
): { readonly shown: AccessRule; readonly rule: AclRule } {
  const name = `auth.acl.rules[${index}]`;
  try {
    const shown = { name, source: 'configuration', definition } as AccessRule;
    return { shown, rule: ruleFromDefinition(definition) };
  } catch (error) {
    throw new Error(`${name}: ${(error as Error).message}`);
  }
}
