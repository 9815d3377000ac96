/**
 * Templates of full rules: text with variables and a pipeline of functions, `site-{site|lower}/{payload.id|default("x")}`.
 * Compiled once when a rule is put; every refusal points at the field and says what there is instead.
 *
 *     template = *(literal / "{" variable *("|" function) "}")       {{ and }} are braces
 *     function = name ["(" argument *("," argument) ")"]
 *     argument = number / word / "text" / 'text'
 */

import { Buffer } from 'node:buffer';
import { type Properties, RuleError, type RuleInput } from '../src/core/index.ts';
import { capturedText, type Span } from './rules-captures.ts';
import { type Argument, FUNCTIONS, TEXT_CHARS_MAX } from './rules-functions.ts';
import { ADDRESS_VARIABLE, refuse, type TemplatePart } from './rules-syntax.ts';
import {
  headerValue,
  jsonOf,
  type Path,
  parsePath,
  plainFromHeader,
  textOf,
  valueAt,
} from './rules-values.ts';

const TEMPLATE_CHARS_MAX = 4_096;

/** Where a value comes from: `address` holds captures and the address, of which the source has as many as it has. */
type Source = 'address' | 'message';

interface Variable {
  readonly source: Source;
  /** A capture's text may hold `/`, and so stand for more than one level. */
  readonly manyLevels: boolean;
  read(input: RuleInput): unknown;
}

interface Expression extends Variable {
  /** As written, for people. */
  readonly text: string;
  /** The capture or `address` that stands here as it is; null where something else does, or a function follows. */
  readonly plain: string | null;
  /** The first function that cannot be undone. */
  readonly blockedBy: string | null;
}

export interface Template {
  readonly parts: readonly (string | Expression)[];
}

/** Compiles one template; `spans` are the captures of the rule's match. */
export function compileTemplate(text: unknown, spans: ReadonlyMap<string, Span>, field: string): Template {
  if (typeof text !== 'string') refuse(field, 'must be text, a template such as "{site}/state"');
  if (text.length > TEMPLATE_CHARS_MAX) refuse(field, `at most ${TEMPLATE_CHARS_MAX} characters`);
  if (text.includes('\0') || !text.isWellFormed()) refuse(field, 'holds a character that no address can');
  const parts: (string | Expression)[] = [];
  let literal = '';
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if ((char === '{' || char === '}') && text[at + 1] === char) {
      literal += char;
      at++;
    } else if (char === '}') {
      refuse(field, 'a } without its {; write }} for a brace');
    } else if (char === '{') {
      const end = endOfExpression(text, at);
      if (end < 0) refuse(field, 'a { without its }; write {{ for a brace');
      if (literal !== '') parts.push(literal);
      literal = '';
      parts.push(compileExpression(text.slice(at + 1, end), spans, field));
      at = end;
    } else {
      literal += char;
    }
  }
  if (literal !== '') parts.push(literal);
  return { parts };
}

/** The template's text for a message. Throws RuleError: `too-large` above `TEXT_CHARS_MAX`. */
export function render(template: Template, input: RuleInput): string {
  let text = '';
  for (const part of template.parts) {
    text += typeof part === 'string' ? part : textOf(readValue(part, input));
    checkSize(text.length);
  }
  return text;
}

function checkSize(size: number): void {
  if (size > TEXT_CHARS_MAX)
    throw new RuleError('too-large', `a template made more than ${TEXT_CHARS_MAX} characters`);
}

/** The same as bytes: one variable alone keeps the bytes that it has. */
export function renderBytes(template: Template, input: RuleInput): Uint8Array {
  const [only] = template.parts;
  if (template.parts.length === 1 && only !== undefined && typeof only !== 'string') {
    const value = readValue(only, input);
    const bytes = value instanceof Uint8Array ? value : Buffer.from(textOf(value));
    checkSize(bytes.length);
    return bytes;
  }
  return Buffer.from(render(template, input));
}

/** The value of a template that is one variable alone, its kind kept; else its text. */
export function renderValue(template: Template, input: RuleInput): unknown {
  const [only] = template.parts;
  if (template.parts.length === 1 && only !== undefined && typeof only !== 'string')
    return readValue(only, input);
  return render(template, input);
}

/** Whether it says the same for every message of one address. */
export function comesFromAddress(template: Template): boolean {
  return template.parts.every((part) => typeof part === 'string' || part.source === 'address');
}

/** The template as the way back of a stream reads it, or why it does not lead back. */
export function invertible(
  template: Template,
): { readonly parts: TemplatePart[] } | { readonly reason: string } {
  const parts: TemplatePart[] = [];
  for (const part of template.parts) {
    if (typeof part === 'string') parts.push({ kind: 'text', text: part });
    else if (part.plain !== null) parts.push({ kind: 'variable', name: part.plain });
    else if (part.blockedBy !== null)
      return { reason: `\`${part.blockedBy}\` in {${part.text}} cannot be undone` };
    else return { reason: `{${part.text}} is not a part of the address` };
  }
  return { parts };
}

function readValue(expression: Expression, input: RuleInput): unknown {
  const value = expression.read(input);
  if (value === undefined || value === null)
    throw new RuleError('missing', `the message has no {${expression.text}}`);
  return value;
}

/** The brace that closes the one at `from`, outside quotes. */
function endOfExpression(text: string, from: number): number {
  let quote = '';
  for (let at = from + 1; at < text.length; at++) {
    const char = text[at]!;
    if (quote !== '') {
      if (char === quote) quote = '';
    } else if (char === '"' || char === "'") quote = char;
    else if (char === '}') return at;
  }
  return -1;
}

function compileExpression(text: string, spans: ReadonlyMap<string, Span>, field: string): Expression {
  const [name = '', ...calls] = splitOutsideQuotes(text, '|').map((each) => each.trim());
  const variable = compileVariable(name, spans, field);
  const steps = calls.map((call) => compileCall(call, field));
  const read =
    steps.length === 0
      ? variable.read
      : (input: RuleInput) => steps.reduce((value, step) => step(value), variable.read(input));
  const isPlain = spans.has(name) || name === ADDRESS_VARIABLE;
  return {
    text,
    source: variable.source,
    // What a function makes may hold anything.
    manyLevels: variable.manyLevels || steps.length > 0,
    read,
    plain: isPlain && steps.length === 0 ? name : null,
    blockedBy: isPlain && steps.length > 0 ? calls[0]! : null,
  };
}

function compileCall(call: string, field: string): (value: unknown) => unknown {
  const found = /^([a-zA-Z0-9]+)(?:\(([\s\S]*)\))?$/.exec(call);
  const name = found?.[1] ?? '';
  const called = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
  if (found === null || called === undefined)
    refuse(field, `\`${call}\` is no function; there are ${Object.keys(FUNCTIONS).join(', ')}`);
  const given = (found[2] ?? '').trim() === '' ? [] : splitOutsideQuotes(found[2]!, ',').map(argumentOf);
  if (given.length < called.argumentsMin || given.length > called.argumentsMax) {
    const wanted =
      called.argumentsMin === called.argumentsMax
        ? `${called.argumentsMin}`
        : `${called.argumentsMin} to ${called.argumentsMax}`;
    refuse(field, `\`${name}\` takes ${wanted} arguments, not ${given.length}`);
  }
  const fault = called.check?.(given) ?? null;
  if (fault !== null) refuse(field, `\`${name}\` ${fault}`);
  return (value) => called.apply(value, given);
}

function argumentOf(text: string): Argument {
  const trimmed = text.trim();
  const quote = trimmed[0];
  if ((quote === '"' || quote === "'") && trimmed.length > 1 && trimmed.endsWith(quote))
    return trimmed.slice(1, -1);
  return /^-?\d{1,15}$/.test(trimmed) ? Number(trimmed) : trimmed;
}

function splitOutsideQuotes(text: string, separator: string): string[] {
  const parts: string[] = [];
  let quote = '';
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (quote !== '') {
      if (char === quote) quote = '';
    } else if (char === '"' || char === "'") quote = char;
    else if (char === separator) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [...parts, text.slice(start)];
}

const PROPERTIES = [
  'contentType',
  'contentEncoding',
  'correlation',
  'replyTo',
  'messageId',
  'timestampMs',
  'type',
  'subject',
  'userId',
  'appId',
  'groupId',
  'groupSequence',
  'replyToGroupId',
] as const satisfies readonly (keyof Properties)[];

const FIELDS: Readonly<Record<string, (input: RuleInput) => unknown>> = {
  key: ({ message }) => message.key ?? undefined,
  now: ({ nowMs }) => nowMs,
  uuid: (input) => input.newId(),
  payload: ({ message }) => message.body,
  'client.id': ({ message, principal }) => message.publisherId || principal?.clientId || undefined,
  'client.user': ({ message, principal }) => principal?.user || message.properties.userId,
  'prop.qos': ({ message }) => message.reliability,
  'prop.retain': ({ message }) => message.retain,
  'prop.priority': ({ message }) => message.priority,
  'prop.expiresAtMs': ({ message }) => (message.expiresAtMs === 0 ? undefined : message.expiresAtMs),
};

function compileVariable(name: string, spans: ReadonlyMap<string, Span>, field: string): Variable {
  const span = spans.get(name);
  if (span !== undefined) {
    const read = ({ message }: RuleInput) => capturedText(message.address, span);
    return { source: 'address', manyLevels: span.many, read };
  }
  const level = /^address\[(-?\d{1,3})\]$/.exec(name);
  if (level !== null) {
    const index = Number(level[1]);
    const read = ({ message }: RuleInput) => message.address.split('/').at(index);
    return { source: 'address', manyLevels: false, read };
  }
  if (name === ADDRESS_VARIABLE)
    return { source: 'address', manyLevels: true, read: ({ message }) => message.address };
  const ofMessage = (read: Variable['read']): Variable => ({ source: 'message', manyLevels: true, read });
  const known = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
  if (known !== undefined) return ofMessage(known);
  if (name.startsWith('header.') && name.length > 'header.'.length) {
    const header = name.slice('header.'.length);
    return ofMessage(({ message }) => headerValue(message, header));
  }
  const property = PROPERTIES.find((each) => name === `prop.${each}`);
  if (property !== undefined) return ofMessage(({ message }) => plainProperty(message.properties[property]));
  if (name.startsWith('payload.') || name.startsWith('payload[')) {
    const path: Path | null = parsePath(name.slice('payload'.length).replace(/^\./, ''));
    if (path === null)
      refuse(field, `{${name}} is no path into the body; write such as {payload.state.values[0]}`);
    return ofMessage((input) => valueAt(jsonOf(input), path));
  }
  const captures = [...spans.keys()].map((each) => `{${each}}`).join(', ');
  return refuse(
    field,
    `{${name}} is no variable: match captures ${captures === '' ? 'nothing' : captures}; others are {address}, ` +
      '{address[n]}, {payload}, {payload.…}, {header.…}, {prop.…}, {client.id}, {client.user}, {key}, {now}, {uuid}',
  );
}

function plainProperty(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'kind' in value
    ? plainFromHeader(value as never)
    : value;
}
