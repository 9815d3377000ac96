/** Bodies of messages as the API shows them, for people and for files. */

export interface ShownMessage {
  readonly address: string;
  readonly body?: string | null;
  readonly bodyBase64?: string;
  readonly timestampMs: number;
  readonly expiresAtMs?: number;
}

export function bytesOfBody({ body, bodyBase64 }: ShownMessage): Buffer {
  return bodyBase64 === undefined ? Buffer.from(body ?? '') : Buffer.from(bodyBase64, 'base64');
}

/** One line of it. */
export function shortBody(message: ShownMessage, charsMax: number): string {
  if (message.bodyBase64 !== undefined) return `(${bytesOfBody(message).length} bytes)`;
  const text = message.body ?? '';
  return text.length > charsMax ? `${text.slice(0, charsMax - 1)}…` : text;
}
