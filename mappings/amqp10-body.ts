/**
 * Bodies of AMQP 1.0 ⇔ the bytes that every protocol has, and the form that brings the body back. Text and bytes are
 * themselves, whatever section they came in; what has structure is its own encoding. Pure.
 *
 * | body                   | bytes                  | form                                    |
 * |------------------------|------------------------|-----------------------------------------|
 * | one data section       | its content            | none                                    |
 * | several                | one after the other    | `data`, and the lengths: `data 3,0,5`   |
 * | none, or the value null | none, "no body"       | none                                    |
 * | value, a string        | UTF-8                  | `value`                                 |
 * | value, a binary        | its content            | `value-bytes`                           |
 * | another value, sequences | the sections as they came | `amqp`, and the content type where there is one |
 *
 * A form that does not fit the bytes, because somebody changed one of them, counts as none.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import { type Amqp10Body, encodeData, encodeValueBody, findSections, Section } from './amqp10-sections.ts';
import { MalformedAmqp10Error } from './amqp10-values.ts';

export interface FormedBody {
  readonly bytes: Uint8Array;
  readonly isNull: boolean;
  /** Empty for one piece of bytes. */
  readonly form: string;
}

/** Sections of data that a body may have; more are joined to one. */
const PARTS_MAX = 10_000;
const NO_BYTES = Buffer.alloc(0);

export function formFromBody(body: Amqp10Body): FormedBody {
  switch (body.kind) {
    case 'none':
      return { bytes: NO_BYTES, isNull: true, form: '' };
    case 'data': {
      const [only] = body.parts;
      if (body.parts.length === 1 && only !== undefined) return { bytes: only, isNull: false, form: '' };
      const lengths = body.parts.length > PARTS_MAX ? '' : `data ${body.parts.map((part) => part.length)}`;
      return { bytes: Buffer.concat(body.parts), isNull: false, form: lengths };
    }
    case 'sequence':
      return { bytes: body.bytes, isNull: false, form: 'amqp' };
    case 'value': {
      const { value } = body;
      if (value.kind === 'null') return { bytes: NO_BYTES, isNull: true, form: '' };
      if (value.kind === 'string') return { bytes: Buffer.from(value.value), isNull: false, form: 'value' };
      if (value.kind === 'bytes') return { bytes: value.value, isNull: false, form: 'value-bytes' };
      return { bytes: body.bytes, isNull: false, form: 'amqp' };
    }
    default:
      return body satisfies never;
  }
}

/** The sections of the body. */
export function bodyFromForm(bytes: Uint8Array, isNull: boolean, form: string): Buffer {
  if (isNull && bytes.length === 0) return encodeValueBody({ kind: 'null' });
  if (form === 'value' && isUtf8(bytes)) {
    return encodeValueBody({ kind: 'string', value: Buffer.from(bytes).toString() });
  }
  if (form === 'value-bytes') return encodeValueBody({ kind: 'bytes', value: bytes });
  if (/^amqp(?: |$)/.test(form) && isEncodedBody(bytes)) return Buffer.from(bytes);
  return encodeData((form.startsWith('data ') ? partsFromLengths(bytes, form.slice(5)) : null) ?? [bytes]);
}

function partsFromLengths(bytes: Uint8Array, text: string): Uint8Array[] | null {
  const lengths = text.split(',', PARTS_MAX + 1);
  if (lengths.length > PARTS_MAX) return null;
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const each of lengths) {
    if (!/^\d{1,10}$/.test(each)) return null;
    parts.push(bytes.subarray(at, at + Number(each)));
    at += Number(each);
  }
  return at === bytes.length ? parts : null;
}

/** Whether these are sections of a body and nothing else. */
function isEncodedBody(bytes: Uint8Array): boolean {
  try {
    const places = findSections(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    return (
      places.length > 0 && places.every(({ code }) => code === Section.sequence || code === Section.value)
    );
  } catch (error) {
    if (error instanceof MalformedAmqp10Error) return false;
    throw error;
  }
}
