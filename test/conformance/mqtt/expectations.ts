/** What several conformance tests look for in the same way. */

import { expect } from 'vitest';
import { type Received, Type } from './packets.ts';
import type { RawClient } from './raw-client.ts';

/** The server closes the connection: in version 5 with DISCONNECT and one of these reason codes, before without a word. */
export async function expectClosed(client: RawClient, ...reasons: number[]): Promise<void> {
  const came = await client.closed();
  expect(came.map(({ type }) => type)).toEqual(client.version === 5 ? [Type.DISCONNECT] : []);
  if (client.version === 5) expect(reasons).toContain(came[0]?.reason);
}

/** CONNECT is refused: in version 5 with CONNACK and one of these reason codes, before with CONNACK or nothing. */
export async function expectRefused(client: RawClient, ...reasons: number[]): Promise<void> {
  const came = await client.closed();
  for (const { type } of came) expect(type).toBe(Type.CONNACK);
  expect(came.length).toBeLessThanOrEqual(1);
  const [connack] = came;
  if (client.version === 5) expect(reasons).toContain(connack?.reason);
  if (connack === undefined) return;
  expect(connack.reason).not.toBe(0);
  expect(connack.sessionPresent).toBe(0);
}

/** Only the PUBLISH packets, as `topic=payload`. */
export function publishedIn(packets: readonly Received[]): string[] {
  return packets
    .filter(({ type }) => type === Type.PUBLISH)
    .map(({ topic, payload }) => `${topic}=${payload}`);
}
