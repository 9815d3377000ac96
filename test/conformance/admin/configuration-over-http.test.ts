/** The settings of a running gateway over HTTP, with where each came from and without secrets. */

import { expect, onTestFinished, test } from 'vitest';
import { GatewayInProcess } from './gateway-in-process.ts';

const KEY = 'a-key-that-nobody-shall-see';
const HASH =
  '$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA';

test('every setting is shown with its origin, and no secret', async () => {
  const gateway = await GatewayInProcess.start([
    `http.apiKeys=${KEY}`,
    'limits.queuesMax=77',
    `auth.users=[{"name": "ann", "password": "${HASH}"}]`,
    'auth.http.headers=x-secret: hidden-too',
  ]);
  onTestFinished(() => gateway.remove());
  const authorization = { authorization: `Bearer ${KEY}` };
  const { status, body } = await gateway.call(
    'GET',
    '/v1/configuration?limit=1000',
    undefined,
    authorization,
  );
  const text = JSON.stringify(body);
  expect(status).toBe(200);
  expect(text).not.toContain(KEY);
  expect(text).not.toContain('$scrypt$');
  expect(text).not.toContain('hidden-too');
  const { items, next } = body as { items: { name: string; value: unknown }[]; next: string | null };
  expect(next).toBeNull();
  const byName = new Map(items.map((item) => [item.name, item]));
  expect(byName.get('limits.queuesMax')).toEqual({
    name: 'limits.queuesMax',
    value: 77,
    isSecret: false,
    origin: '--set limits.queuesMax',
  });
  expect(byName.get('http.apiKeys')).toMatchObject({
    value: null,
    isSecret: true,
    origin: '--set http.apiKeys',
  });
  expect(byName.get('storage.durability')).toMatchObject({ value: 'fsync', origin: 'default' });
  const one = await gateway.call('GET', '/v1/configuration/limits.queuesMax', undefined, authorization);
  expect(one).toMatchObject({ status: 200, body: byName.get('limits.queuesMax') });
  expect(await gateway.call('GET', '/v1/configuration/none', undefined, authorization)).toMatchObject({
    status: 404,
  });
});
