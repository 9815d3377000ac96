/** Of two writers who hold the same ETag of a user one changes it, however long the hash of its password takes. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AdminOptions } from '../../../src/admin/index.ts';
import type { UserInfo } from '../../../src/auth/users.ts';
import { FakeGateway } from './admin-with-fake-core.ts';

const users = new Map<string, UserInfo>();
const gateway = new FakeGateway();
beforeAll(async () => {
  const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
  gateway.users = {
    list: () => users.values(),
    get: (name) => users.get(name),
    put: async (name, { groups = [] }) => {
      await turn();
      users.set(name, { name, source: 'api', groups, scram: true });
    },
    remove: async (name) => {
      await turn();
      return users.delete(name);
    },
  } satisfies AdminOptions['users'];
  await gateway.start();
  // Loads the routes, so that what follows arrives together.
  await gateway.fetch('/v1/users');
});
afterAll(() => gateway.admin.stop());

const put = (group: string, headers: Record<string, string>) =>
  gateway.put('/v1/users/ann', { password: 'secret', groups: [group] }, headers);
const statusesOf = async (answers: Promise<{ readonly status: number }>[]): Promise<number[]> =>
  (await Promise.all(answers)).map(({ status }) => status).sort();

it('when both make it', async () => {
  const onlyNew = { 'if-none-match': '*' };
  expect(await statusesOf([put('a', onlyNew), put('b', onlyNew)])).toEqual([201, 412]);
});

it('when both change it', async () => {
  const etag = (await gateway.fetch('/v1/users/ann')).headers.get('etag') as string;
  const unchanged = { 'if-match': etag };
  expect(await statusesOf([put('c', unchanged), put('d', unchanged)])).toEqual([200, 412]);
});

it('when one of them removes it', async () => {
  const etag = (await gateway.fetch('/v1/users/ann')).headers.get('etag') as string;
  const headers = { 'if-match': etag };
  const removed = gateway.fetch('/v1/users/ann', { method: 'DELETE', headers });
  const [first, second] = await statusesOf([removed, put('e', headers)]);
  expect([200, 204]).toContain(first);
  expect(second).toBe(412);
});
