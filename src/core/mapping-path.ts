/**
 * What ends the way of one message through mapping rules. The path is what it came through so far: it belongs to the way
 * through the core and not to the message, so no client sees it and none can make it up. Asked by the runner, and by
 * whoever tries rules without publishing, so that both say the same.
 */

import type { RoutingRule } from './mapping-rule.ts';

/** A rule that led a message on, and the address at which it took it. */
export interface RuleStep {
  readonly rule: string;
  readonly address: string;
}

/** Why a rule gives nothing to any target this time, or null. Where circles are allowed this is how they end. */
export function repeatOf(rule: string, path: readonly RuleStep[]): string | null {
  return path.some((step) => step.rule === rule) ? `mapping ${rule} has led this message on before` : null;
}

/** Why a message at `from` is not published at `to`, or null: nobody gets at one address what it was there before. */
export function returnOf(
  rule: RoutingRule,
  path: readonly RuleStep[],
  from: string,
  to: string,
): string | null {
  if (rule.returns === true || (to !== from && !path.some(({ address }) => address === to))) return null;
  return `the message has been at '${to}' before`;
}

/** Why the way is too long for this rule, which is an error, or null. Only what goes to addresses can go on. */
export function hopsOf(rule: RoutingRule, path: readonly RuleStep[]): string | null {
  if (path.length <= rule.hopsMax || !rule.targets.some((target) => target.kind === 'core')) return null;
  return `the message came through ${path.length} mappings, more than ${rule.hopsMax} (maxHops)`;
}
