/**
 * Properties and headers of the one message ⇔ annotations, properties, application properties and footer of AMQP 1.0, by
 * the property table of docs/mappings.md. Called by `amqp10.ts` when a message crosses from or to another protocol;
 * pure.
 *
 * Headers are application properties under their names; a header `x-opt-…` is the message annotation of that name, and
 * other annotations are headers `x-opt-:` and their key. Application properties hold each name once, have no lists and
 * maps, and come after all annotations. Where that would change a message's headers, all of them stand once more, in
 * order, in the annotation `x-opt-gw-headers`: a list of `[name, value]`, or `[name, text, code]` with the codes of
 * `x-gw-types` for what AMQP 1.0 cannot say.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import type { Header, HeaderValue, Message, Properties } from '../src/core/index.ts';
import { addressFromAmqp10, amqp10FromAddress } from './amqp10-address.ts';
import {
  type Amqp10Message,
  type Amqp10Properties,
  encodeAnnotations,
  encodeApplicationProperties,
  encodeFooter,
  encodeProperties,
} from './amqp10-sections.ts';
import { isExact } from './amqp10-values.ts';
import {
  codeFromValue,
  isReservedName,
  type PropertiesDraft,
  textFromValue,
  valueFromText,
  withoutReserved,
} from './header-values.ts';

/** Message annotations with a meaning for the gateway, under the names that other brokers use where there are some. */
export const Annotation = {
  retain: 'x-opt-mqtt-retain',
  key: 'x-opt-partition-key',
  qos: 'x-opt-gw-qos',
  textBody: 'x-opt-gw-pfi',
  /** RabbitMQ's place for the type of AMQP 0-9-1, beside the subject. */
  type: 'x-basic-type',
  deaths: 'x-opt-deaths',
  headers: 'x-opt-gw-headers',
  contentType: 'x-opt-gw-content-type',
  contentEncoding: 'x-opt-gw-content-encoding',
  /** Identifiers of a kind that the fields do not have. */
  messageId: 'x-opt-gw-message-id',
  correlation: 'x-opt-gw-correlation',
  /** A reply address that is none here, such as the empty one. */
  replyTo: 'x-opt-gw-reply-to',
  appId: 'x-opt-gw-app-id',
  groupSequence: 'x-opt-gw-group-sequence',
} as const;

/** The content type of bodies that are an encoded AMQP body. */
export const ENCODED_BODY = 'application/vnd.amqp1-body';

const ENCODED_FORM = 'amqp';
const APP_ID = 'app-id';
const DEATH_HEADER = 'x-death';
const FOOTER_HEADER = 'x-opt-gw-footer';
const ANNOTATION_PREFIX = 'x-opt-';
const OTHER_ANNOTATION_PREFIX = 'x-opt-:';
const GATEWAY_ANNOTATION_PREFIX = 'x-opt-gw-';
const OWN_ANNOTATIONS: ReadonlySet<string> = new Set(Object.values(Annotation));

// ------------------------------------------------------------------------------------------------ from the wire

export function propertiesFromAmqp10(message: Amqp10Message, form: string): Properties {
  const { properties, annotations } = message;
  const draft: PropertiesDraft = { headers: [] };
  putContent(draft, properties, form);
  if (properties.messageId !== undefined) draft.messageId = properties.messageId;
  if (properties.correlationId !== undefined) draft.correlation = properties.correlationId;
  if (properties.subject !== undefined) draft.subject = properties.subject;
  if (properties.userId !== undefined && isUtf8(properties.userId)) {
    draft.userId = Buffer.from(properties.userId).toString();
  }
  if (properties.creationMs !== undefined) draft.timestampMs = properties.creationMs;
  if (properties.groupId !== undefined) draft.groupId = properties.groupId;
  if (properties.groupSequence !== undefined) draft.groupSequence = properties.groupSequence;
  if (properties.replyToGroupId !== undefined) draft.replyToGroupId = properties.replyToGroupId;
  const replyTo = properties.replyTo === undefined ? null : addressFromAmqp10(properties.replyTo, null);
  if (replyTo !== null) draft.replyTo = replyTo;
  for (const annotation of annotations) takeAnnotation(draft, annotation);
  draft.headers = headersOf(draft, message);
  return draft;
}

function putContent(draft: PropertiesDraft, properties: Amqp10Properties, form: string): void {
  const { contentType, contentEncoding } = properties;
  if (contentType !== undefined) draft.contentType = contentType;
  if (contentEncoding !== undefined) draft.contentEncoding = contentEncoding;
  if (form === '') return;
  draft.bodyForm = form;
  if (form === 'value') draft.textBody = true;
  if (form !== ENCODED_FORM) return;
  if (contentType !== undefined) draft.bodyForm = `${ENCODED_FORM} ${contentType}`;
  draft.contentType = ENCODED_BODY;
}

function takeAnnotation(draft: PropertiesDraft, { name, value }: Header): void {
  if (name === Annotation.messageId) draft.messageId = headerFromEntry(value)?.value ?? value;
  else if (name === Annotation.correlation) draft.correlation = headerFromEntry(value)?.value ?? value;
  else if (name === Annotation.textBody && value.kind === 'u8') draft.textBody = value.value === 1;
  else if (name === Annotation.groupSequence && value.kind === 'i64') {
    draft.groupSequence = Number(value.value);
  } else if (value.kind === 'string') {
    if (name === Annotation.contentType) draft.contentType = value.value;
    else if (name === Annotation.contentEncoding) draft.contentEncoding = value.value;
    else if (name === Annotation.type) draft.type = value.value;
    else if (name === Annotation.replyTo) draft.replyTo = value.value;
    else if (name === Annotation.appId) draft.appId = value.value;
  }
}

function headersOf(draft: PropertiesDraft, message: Amqp10Message): readonly Header[] {
  const listed = listedHeaders(message.annotations);
  const names = new Set(listed?.map(({ name }) => name));
  const headers: Header[] = [];
  for (const { name, value } of message.annotations) {
    if (OWN_ANNOTATIONS.has(name) && name !== Annotation.deaths) continue;
    if (!name.startsWith(GATEWAY_ANNOTATION_PREFIX))
      headers.push({ name: headerFromAnnotation(name), value });
  }
  for (const header of message.applicationProperties) {
    if (isReservedName(header.name)) continue;
    const { name, value } = header;
    if (name === APP_ID && value.kind === 'string' && !names.has(APP_ID) && draft.appId === undefined) {
      draft.appId = value.value;
    } else headers.push(header);
  }
  if (message.footer.length > 0) {
    headers.push({ name: FOOTER_HEADER, value: { kind: 'map', value: message.footer } });
  }
  if (listed === null) return headers;
  // Somebody may have added one since.
  return [...listed, ...headers.filter(({ name }) => !names.has(name))];
}

function headerFromAnnotation(key: string): string {
  if (key === Annotation.deaths) return DEATH_HEADER;
  return key.startsWith(ANNOTATION_PREFIX) ? key : OTHER_ANNOTATION_PREFIX + key;
}

function listedHeaders(annotations: readonly Header[]): readonly Header[] | null {
  const value = annotations.find(({ name }) => name === Annotation.headers)?.value;
  if (value?.kind !== 'list') return null;
  return value.value.flatMap((entry) => {
    const header = headerFromEntry(entry);
    return header === null || isReservedName(header.name) ? [] : [header];
  });
}

/** Undoes `entryFromHeader`; null for what is no entry. */
function headerFromEntry(entry: HeaderValue): Header | null {
  if (entry.kind !== 'list') return null;
  const [name, held, code] = entry.value;
  if (name?.kind !== 'string' || held === undefined) return null;
  if (code === undefined) return { name: name.value, value: held };
  if (code.kind !== 'string' || held.kind !== 'string') return null;
  return { name: name.value, value: valueFromText(code.value, held.value) ?? held };
}

/** The section without names that belong to the gateway; null where it has none of them. */
export function withoutReservedProperties(headers: readonly Header[]): Buffer | null {
  const own = withoutReserved(headers);
  return own === headers ? null : encodeApplicationProperties(own);
}

// -------------------------------------------------------------------------------------------------- to the wire

interface Sections {
  /** Annotations to application properties. */
  readonly prefix: Buffer;
  readonly footer: Buffer;
}

/** What is said of a message that was not born in this protocol. */
export function sectionsFromMessage(message: Message): Sections {
  const { properties } = message;
  const annotations: Header[] = [];
  const fields = fieldsFromMessage(message, annotations);
  const own = withoutReserved(properties.headers);
  const sorted = sortHeaders(own);
  const applicationProperties = sorted.applicationProperties;
  if (properties.appId !== undefined) {
    if (own.some(({ name }) => name === APP_ID)) annotations.push(text(Annotation.appId, properties.appId));
    else applicationProperties.push(text(APP_ID, properties.appId));
  }
  if (message.retain) annotations.push({ name: Annotation.retain, value: { kind: 'bool', value: true } });
  if (message.reliability === 2) annotations.push({ name: Annotation.qos, value: { kind: 'u8', value: 2 } });
  if (message.key !== null) annotations.push({ name: Annotation.key, value: valueFromKey(message.key) });
  if (sorted.mustList || own.some(isAppId)) {
    annotations.push({ name: Annotation.headers, value: { kind: 'list', value: own.map(entryFromHeader) } });
  }
  const prefix = [
    encodeAnnotations([...sorted.annotations, ...annotations]),
    encodeProperties(fields),
    encodeApplicationProperties(applicationProperties),
  ];
  return { prefix: Buffer.concat(prefix), footer: encodeFooter(sorted.footer) };
}

function text(name: string, value: string): Header {
  return { name, value: { kind: 'string', value } };
}

/** Without its list such a header would be the property. */
function isAppId({ name, value }: Header): boolean {
  return name === APP_ID && value.kind === 'string';
}

function fieldsFromMessage(message: Message, annotations: Header[]): Amqp10Properties {
  const { properties } = message;
  const fields: Amqp10Properties = { to: amqp10FromAddress(message.address) };
  const put = (field: 'messageId' | 'correlationId', name: string, value: HeaderValue | undefined): void => {
    if (value === undefined) return;
    if (isIdentifier(value)) fields[field] = value;
    else {
      fields[field] = { kind: 'string', value: textFromValue(value) };
      annotations.push({ name, value: entryFromHeader({ name: '', value }) });
    }
  };
  put('messageId', Annotation.messageId, properties.messageId);
  put('correlationId', Annotation.correlation, properties.correlation);
  if (properties.userId !== undefined) fields.userId = Buffer.from(properties.userId);
  if (properties.subject !== undefined) fields.subject = properties.subject;
  if (properties.type !== undefined) annotations.push(text(Annotation.type, properties.type));
  if (properties.replyTo !== undefined) {
    fields.replyTo = amqp10FromAddress(properties.replyTo);
    if (addressFromAmqp10(fields.replyTo, null) !== properties.replyTo) {
      delete fields.replyTo;
      annotations.push(text(Annotation.replyTo, properties.replyTo));
    }
  }
  putContentFields(fields, annotations, properties);
  if (message.expiresAtMs !== 0) fields.absoluteExpiryMs = Math.ceil(message.expiresAtMs);
  if (properties.timestampMs !== undefined) fields.creationMs = Math.floor(properties.timestampMs);
  if (properties.groupId !== undefined) fields.groupId = properties.groupId;
  if (properties.replyToGroupId !== undefined) fields.replyToGroupId = properties.replyToGroupId;
  const { groupSequence } = properties;
  if (groupSequence !== undefined && groupSequence <= 0xffff_ffff) fields.groupSequence = groupSequence;
  else if (groupSequence !== undefined) {
    const value: HeaderValue = { kind: 'i64', value: BigInt(groupSequence) };
    annotations.push({ name: Annotation.groupSequence, value });
  }
  return fields;
}

function putContentFields(fields: Amqp10Properties, annotations: Header[], properties: Properties): void {
  const { contentEncoding, bodyForm, textBody } = properties;
  let { contentType } = properties;
  if (contentType === ENCODED_BODY && bodyForm?.split(' ', 1)[0] === ENCODED_FORM) {
    contentType = bodyForm === ENCODED_FORM ? undefined : bodyForm.slice(ENCODED_FORM.length + 1);
  }
  if (contentType !== undefined) {
    if (isAscii(contentType)) fields.contentType = contentType;
    else annotations.push(text(Annotation.contentType, contentType));
  }
  if (contentEncoding !== undefined) {
    if (isAscii(contentEncoding)) fields.contentEncoding = contentEncoding;
    else annotations.push(text(Annotation.contentEncoding, contentEncoding));
  }
  if (textBody !== undefined && !(textBody && bodyForm === 'value')) {
    annotations.push({ name: Annotation.textBody, value: { kind: 'u8', value: textBody ? 1 : 0 } });
  }
}

function isAscii(value: string): boolean {
  return isExact({ kind: 'symbol', value });
}

/** The kinds that the two fields have. */
function isIdentifier(value: HeaderValue): boolean {
  return (
    value.kind === 'string' ||
    value.kind === 'bytes' ||
    value.kind === 'u64' ||
    (value.kind === 'uuid' && isExact(value))
  );
}

/** A key is a string where it reads back as the same bytes, as Event Hubs writes it. */
function valueFromKey(key: Uint8Array): HeaderValue {
  return isUtf8(key) ? { kind: 'string', value: Buffer.from(key).toString() } : { kind: 'bytes', value: key };
}

interface SortedHeaders {
  readonly annotations: Header[];
  readonly applicationProperties: Header[];
  readonly footer: readonly Header[];
  /** The sections do not say all of them, or in another order. */
  readonly mustList: boolean;
}

function sortHeaders(headers: readonly Header[]): SortedHeaders {
  const annotations: Header[] = [];
  const applicationProperties: Header[] = [];
  const taken = new Set<string>();
  let footer: readonly Header[] = [];
  let mustList = false;
  for (const header of headers) {
    const { name, value } = header;
    if (taken.has(name) || !isExact(value)) mustList = true;
    if (taken.has(name)) continue;
    taken.add(name);
    // The footer is read last, annotations first.
    if (footer.length > 0) mustList = true;
    const isNested = value.kind === 'list' || value.kind === 'map';
    if (isNested && !isExact(value)) continue;
    if (name === FOOTER_HEADER && value.kind === 'map' && value.value.length > 0) {
      footer = value.value;
      continue;
    }
    const annotation = annotationFromHeader(name);
    if (annotation !== null) {
      if (applicationProperties.length > 0) mustList = true;
      annotations.push({ name: annotation, value });
    } else if (isNested) mustList = true;
    else applicationProperties.push(header);
  }
  return { annotations, applicationProperties, footer, mustList };
}

/** Null for a header that is no annotation. Those of the gateway are not for others to write. */
function annotationFromHeader(name: string): string | null {
  if (name === DEATH_HEADER) return Annotation.deaths;
  if (!name.startsWith(ANNOTATION_PREFIX) || name.startsWith(GATEWAY_ANNOTATION_PREFIX)) return null;
  const key = name.startsWith(OTHER_ANNOTATION_PREFIX) ? name.slice(OTHER_ANNOTATION_PREFIX.length) : name;
  return OWN_ANNOTATIONS.has(key) || !isAscii(key) ? null : key;
}

function entryFromHeader({ name, value }: Header): HeaderValue {
  const first: HeaderValue = { kind: 'string', value: name };
  if (isExact(value)) return { kind: 'list', value: [first, value] };
  return {
    kind: 'list',
    value: [
      first,
      { kind: 'string', value: textFromValue(value) },
      { kind: 'string', value: codeFromValue(value) },
    ],
  };
}
