/**
 * Rules that are made and removed while the gateway runs, kept in a table of the data folder; and the list of all
 * rules, for people. The rules of the configuration file and of the access file are shown with a name that tells
 * where they stand, and can only be changed there. Used by the HTTP API through `openAccess`.
 */

import { Buffer } from 'node:buffer';
import { CoreError } from '../core/index.ts';
import type { Table } from '../core/storage.ts';
import type { Acl } from './acl.ts';
import { type AclRule, type AclRuleDefinition, escapePointer, ruleFromDefinition } from './acl-rule.ts';

export interface AccessRule {
  /** Of a rule that stands in a file: where, such as `auth.acl.rules[0]` or `/etc/acl:12`. */
  readonly name: string;
  readonly source: 'configuration' | 'file' | 'api';
  /** A file's rule is the text of its line. */
  readonly definition: AclRuleDefinition | string;
}

export interface AccessRules {
  /**
   * Makes or replaces the rule of that name; applies at once, and resolves when it is stored. Throws CoreError
   * `invalid-argument` with the reason, or `limit-reached`.
   */
  put(name: string, definition: unknown): Promise<void>;
  /**
   * Exactly these rules instead of all that were made so far, at once or not at all; those in files stay. Throws
   * CoreError as `put`, with `field` beginning with the name.
   */
  replaceAll(definitions: ReadonlyMap<string, unknown>): Promise<void>;
  /** False: there was none. Throws CoreError `invalid-argument` for a rule that stands in a file. */
  remove(name: string): Promise<boolean>;
  get(name: string): AccessRule | undefined;
  list(): Iterable<AccessRule>;
}

/** Names that the API gives; what stands in files has a `[`, `/` or `:` in its name. */
const NAME = /^[A-Za-z0-9_.@-]{1,255}$/;
const SOURCE = 'api';

export class RuntimeRules implements AccessRules {
  readonly #acl: Acl;
  readonly #table: Table;
  readonly #whenStored: () => Promise<void>;
  readonly #rulesMax: number;
  readonly #rules = new Map<string, { readonly definition: AclRuleDefinition; readonly rule: AclRule }>();
  readonly #fixed = new Map<'configuration' | 'file', readonly AccessRule[]>();

  private constructor(acl: Acl, table: Table, whenStored: () => Promise<void>, rulesMax: number) {
    this.#acl = acl;
    this.#table = table;
    this.#whenStored = whenStored;
    this.#rulesMax = rulesMax;
  }

  /** Throws where what is stored is no rule: to leave one out could open what it closes. */
  static async load(
    acl: Acl,
    table: Table,
    whenStored: () => Promise<void>,
    rulesMax: number,
  ): Promise<RuntimeRules> {
    const rules = new RuntimeRules(acl, table, whenStored, rulesMax);
    for await (const [name, bytes] of table.scan('')) {
      const definition = JSON.parse(Buffer.from(bytes).toString()) as AclRuleDefinition;
      rules.#rules.set(name, { definition, rule: ruleFromDefinition(definition) });
    }
    rules.#apply();
    return rules;
  }

  async put(name: string, definition: unknown): Promise<void> {
    checkName(name);
    const rule = ruleFromDefinition(definition);
    if (!this.#rules.has(name) && this.#rules.size >= this.#rulesMax) {
      throw new CoreError('limit-reached', `there are ${this.#rules.size} rules already (auth.acl.rulesMax)`);
    }
    this.#rules.set(name, { definition: definition as AclRuleDefinition, rule });
    this.#table.put(name, Buffer.from(JSON.stringify(definition)));
    this.#apply();
    await this.#whenStored();
  }

  async replaceAll(definitions: ReadonlyMap<string, unknown>): Promise<void> {
    if (definitions.size > this.#rulesMax) {
      throw new CoreError(
        'limit-reached',
        `${definitions.size} rules are more than ${this.#rulesMax} (auth.acl.rulesMax)`,
      );
    }
    const next = new Map<string, { readonly definition: AclRuleDefinition; readonly rule: AclRule }>();
    for (const [name, definition] of definitions) {
      try {
        checkName(name);
        next.set(name, { definition: definition as AclRuleDefinition, rule: ruleFromDefinition(definition) });
      } catch (error) {
        if (!(error instanceof CoreError)) throw error;
        throw new CoreError(error.code, error.message, {
          field: `/${escapePointer(name)}${error.field ?? ''}`,
        });
      }
    }
    for (const name of this.#rules.keys()) if (!next.has(name)) this.#table.remove(name);
    this.#rules.clear();
    for (const [name, entry] of next) {
      this.#rules.set(name, entry);
      this.#table.put(name, Buffer.from(JSON.stringify(entry.definition)));
    }
    this.#apply();
    await this.#whenStored();
  }

  async remove(name: string): Promise<boolean> {
    if (!this.#rules.delete(name)) {
      const fixed = this.get(name);
      if (fixed === undefined) return false;
      throw new CoreError('invalid-argument', `the rule stands in a file: ${fixed.name}`);
    }
    this.#table.remove(name);
    this.#apply();
    await this.#whenStored();
    return true;
  }

  get(name: string): AccessRule | undefined {
    const known = this.#rules.get(name);
    if (known !== undefined) return { name, source: SOURCE, definition: known.definition };
    for (const rules of this.#fixed.values()) {
      const found = rules.find((rule) => rule.name === name);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  *list(): Iterable<AccessRule> {
    for (const rules of this.#fixed.values()) yield* rules;
    for (const [name, { definition }] of this.#rules) yield { name, source: SOURCE, definition };
  }

  /** Rules that stand elsewhere; they apply at once. */
  setFixed(source: 'configuration' | 'file', shown: readonly AccessRule[], rules: readonly AclRule[]): void {
    this.#fixed.set(source, shown);
    this.#acl.replace(source, rules);
  }

  #apply(): void {
    this.#acl.replace(
      SOURCE,
      [...this.#rules.values()].map(({ rule }) => rule),
    );
  }
}

function checkName(name: string): void {
  if (NAME.test(name)) return;
  throw new CoreError(
    'invalid-argument',
    'a rule’s name is 1 to 255 letters, digits, dots, underscores, hyphens and @',
  );
}
