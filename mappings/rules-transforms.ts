/**
 * Transforms of full rules: what a target's message holds instead of the body that came. Each is a pure function from
 * message to message that throws RuleError `payload` where the body is not what it needs. Called by `rules-routing.ts`.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import {
  CoreError,
  type Header,
  isHistory,
  type Message,
  type Properties,
  RuleError,
  type RuleInput,
} from '../src/core/index.ts';
import { bytesFromJson, type HttpMessage, jsonFromMessage, messageFromJson, timeFromJson } from './http.ts';
import type { Span } from './rules-captures.ts';
import { refuse } from './rules-syntax.ts';
import { compileTemplate, render } from './rules-template.ts';
import { bytesOf, parsePath, readJson, textFromBytes, textOf, valueAt } from './rules-values.ts';

export type Transform = (message: Message, input: RuleInput) => Message;

const STEPS_MAX = 8;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const JSON_TYPE = 'application/json';
const EVENT_TYPE = 'application/cloudevents+json';
const EVENT_NAME = /^[a-z0-9]{1,20}$/;
/** How attributes of an event are marked in headers: plain in some protocols, with one of these in others. */
const EVENT_PREFIXES = ['ce_', 'cloudEvents:', 'cloudEvents_'];
const EVENT_REQUIRED = ['specversion', 'id', 'source', 'type'] as const;

const NAMES =
  'none, base64, base64-decode, envelope-json, unwrap, cloudevents(binary), cloudevents(structured), select("$.path"), ' +
  'template("text with {variables}")';

/** What compiling a transform takes: the captures of the rule, and what stands before attributes of events in headers. */
export interface TransformContext {
  readonly spans: ReadonlyMap<string, Span>;
  readonly eventPrefix: string;
}

/** One transform or a list of them, in order. */
export function compileTransform(value: unknown, context: TransformContext, field: string): Transform | null {
  if (value === undefined) return null;
  const steps = Array.isArray(value) ? value : [value];
  if (steps.length > STEPS_MAX) refuse(field, `at most ${STEPS_MAX} transforms`);
  const compiled = steps.flatMap((step, index) =>
    compileStep(step, context, Array.isArray(value) ? `${field}/${index}` : field),
  );
  if (compiled.length === 0) return null;
  return (message, input) => compiled.reduce((before, step) => step(before, input), message);
}

function compileStep(value: unknown, { spans, eventPrefix }: TransformContext, field: string): Transform[] {
  if (value === 'none') return [];
  if (value === 'base64') return [toBase64];
  if (value === 'base64-decode') return [fromBase64];
  if (value === 'envelope-json') return [envelop];
  if (value === 'unwrap') return [unwrap];
  if (value === 'cloudevents(binary)') return [(message) => eventToHeaders(message, eventPrefix)];
  if (value === 'cloudevents(structured)') return [eventToBody];
  const text = typeof value === 'string' ? /^template\((["'])([\s\S]*)\1\)$/.exec(value) : null;
  if (text !== null) {
    const template = compileTemplate(text[2], spans, field);
    return [(message, input) => withBody(message, Buffer.from(render(template, input)), 'text/plain')];
  }
  const path = typeof value === 'string' ? /^select\((["'])\$\.?(.*)\1\)$/.exec(value) : null;
  if (path === null) return refuse(field, `is no transform; there are ${NAMES}`);
  const steps = parsePath(path[2]!);
  if (steps === null)
    return refuse(field, 'is no path into the body; write such as select("$.state.values[0]")');
  return [(message) => select(message, steps)];
}

function withBody(message: Message, body: Uint8Array, contentType: string | undefined): Message {
  const { contentType: _, contentEncoding: _encoding, textBody: _text, ...others } = message.properties;
  const properties: Properties = contentType === undefined ? others : { ...others, contentType };
  return message.with({ body, nullBody: false, properties });
}

function toBase64(message: Message): Message {
  const { properties } = message;
  const body = Buffer.from(bytesOf(message.body).toString('base64'));
  return message.with({ body, nullBody: false, properties: { ...properties, contentEncoding: 'base64' } });
}

function fromBase64(message: Message): Message {
  const text = textFromBytes(message.body).trim();
  if (text.length % 4 !== 0 || !BASE64.test(text)) throw new RuleError('payload', 'the body is not base64');
  const { contentEncoding, ...others } = message.properties;
  const properties =
    contentEncoding === undefined || contentEncoding === 'base64' ? others : message.properties;
  return message.with({ body: Buffer.from(text, 'base64'), properties });
}

function jsonBody(message: Message): unknown {
  const read = readJson(message.body);
  if ('fault' in read) throw new RuleError('payload', read.fault);
  return read.value;
}

/** The message with all that it says, in the form in which the HTTP API shows messages. */
function envelop(message: Message): Message {
  return withBody(message, Buffer.from(JSON.stringify(jsonFromMessage(message))), JSON_TYPE);
}

/** Undoes `envelop`; the address stays that of the envelope's message. */
function unwrap(message: Message, { nowMs }: RuleInput): Message {
  const value = jsonBody(message);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new RuleError('payload', 'the body is no envelope: it is no JSON object');
  const { address: _, expiresAtMs, timestampMs, keyBase64, ...fields } = value as Record<string, unknown>;
  try {
    // A client wrote it: every field is checked in there.
    const inner = messageFromJson(fields as HttpMessage, message.address, nowMs);
    // How the message died is what the core said of it, and not what somebody put into an envelope.
    const headers = [
      ...message.properties.headers.filter(({ name }) => isHistory(name)),
      ...inner.properties.headers.filter(({ name }) => !isHistory(name)),
    ];
    return inner.with({
      properties: { ...inner.properties, headers },
      publisherId: message.publisherId,
      ...(expiresAtMs === undefined ? {} : { expiresAtMs: timeFromJson(expiresAtMs, '/expiresAtMs') }),
      ...(timestampMs === undefined ? {} : { timestampMs: timeFromJson(timestampMs, '/timestampMs') }),
      ...(keyBase64 === undefined ? {} : { key: bytesFromJson(keyBase64, '/keyBase64') }),
    });
  } catch (error) {
    if (!(error instanceof CoreError) && !(error instanceof TypeError)) throw error;
    const at = error instanceof CoreError && error.field !== undefined ? `${error.field} ` : '';
    throw new RuleError('payload', `the body is no envelope: ${at}${error.message}`);
  }
}

function select(message: Message, path: readonly (string | number)[]): Message {
  const value = valueAt(jsonBody(message), path);
  if (value === undefined) throw new RuleError('missing', `the body has nothing at ${path.join('.')}`);
  const isText = typeof value === 'string';
  return withBody(
    message,
    Buffer.from(isText ? value : JSON.stringify(value)),
    isText ? 'text/plain' : JSON_TYPE,
  );
}

/** An event whose attributes stand in headers, or made of the message itself, as one JSON object (CloudEvents 1.0.2, 3). */
function eventToBody(message: Message, input: RuleInput): Message {
  const { properties, body } = message;
  const event: Record<string, unknown> = {};
  const others: Header[] = [];
  const prefix = ['', ...EVENT_PREFIXES].find((each) =>
    properties.headers.some(({ name }) => name === `${each}specversion`),
  );
  const isEvent = prefix !== undefined;
  for (const header of properties.headers) {
    const name = isEvent ? attributeOf(header.name, prefix) : null;
    if (name === null || header.value.kind === 'list' || header.value.kind === 'map') others.push(header);
    else event[name] = header.value.kind === 'null' ? null : textOf(header.value.value);
  }
  event.specversion ??= '1.0';
  event.id ??= properties.messageId === undefined ? input.newId() : idText(properties);
  event.source ??= `/${message.address.split('/').map(encodeURIComponent).join('/')}`;
  event.type ??= properties.type ?? 'message';
  const timeMs = properties.timestampMs ?? (message.timestampMs || undefined);
  if (!isEvent && timeMs !== undefined) event.time = new Date(timeMs).toISOString();
  if (properties.contentType !== undefined) event.datacontenttype = properties.contentType;
  if (!message.nullBody && body.length > 0) {
    const read = isJson(properties.contentType) ? readJson(body) : null;
    if (read !== null && 'value' in read) event.data = read.value;
    else if (isUtf8(body)) event.data = textFromBytes(body);
    else event.data_base64 = bytesOf(body).toString('base64');
  }
  const changed = message.with({ properties: { ...properties, headers: others } });
  return withBody(changed, Buffer.from(JSON.stringify(event)), EVENT_TYPE);
}

/** An event that is one JSON object, with its attributes in headers and its data as the body (3.1 of the bindings). */
function eventToHeaders(message: Message, prefix: string): Message {
  const event = jsonBody(message) as Record<string, unknown>;
  const isObject = typeof event === 'object' && event !== null;
  const missing = EVENT_REQUIRED.find(
    (name) => !isObject || typeof event[name] !== 'string' || event[name] === '',
  );
  if (missing !== undefined) throw new RuleError('payload', `the body is no event: it has no ${missing}`);
  const { data, data_base64: base64, datacontenttype, ...attributes } = event;
  const headers: Header[] = [];
  for (const [name, value] of Object.entries(attributes)) {
    if (!EVENT_NAME.test(name))
      throw new RuleError('payload', `\`${name.slice(0, 50)}\` is no attribute of an event`);
    if (value !== null)
      headers.push({ name: prefix + name, value: { kind: 'string', value: textOf(value) } });
  }
  let body: Uint8Array = Buffer.alloc(0);
  if (base64 !== undefined) {
    if (typeof base64 !== 'string' || !BASE64.test(base64))
      throw new RuleError('payload', 'data_base64 of the event is not base64');
    body = Buffer.from(base64, 'base64');
  } else if (data !== undefined) {
    const isText = typeof data === 'string' && !isJson(datacontenttype ?? JSON_TYPE);
    body = Buffer.from(isText ? data : JSON.stringify(data));
  }
  const { properties } = message;
  const changed = message.with({
    properties: { ...properties, headers: [...properties.headers, ...headers] },
  });
  const type =
    typeof datacontenttype === 'string' ? datacontenttype : data === undefined ? undefined : JSON_TYPE;
  return withBody(changed, body, type);
}

function attributeOf(header: string, prefix: string): string | null {
  if (!header.startsWith(prefix)) return null;
  const name = header.slice(prefix.length);
  return EVENT_NAME.test(name) ? name : null;
}

function idText(properties: Properties): string {
  const id = properties.messageId;
  return id === undefined || id.kind === 'null' || id.kind === 'list' || id.kind === 'map'
    ? ''
    : textOf(id.value);
}

function isJson(contentType: unknown): boolean {
  return typeof contentType === 'string' && /^[^;]*[/+]json\s*(;|$)/i.test(contentType);
}
