/** One definition that cannot be taken over stops no import, and a trial of it tells the same. */

import { afterAll, beforeAll, expect, it } from 'vitest';
import { FakeGateway } from './admin-with-fake-core.ts';

let gateway: FakeGateway;
beforeAll(async () => {
  gateway = await new FakeGateway().start();
});
afterAll(() => gateway.admin.stop());

it.each(['?dryRun=true', ''])(
  'a bad mapping is skipped and told, the others are taken (%s)',
  async (query) => {
    const answer = await gateway.post(`/v1/import/mappings${query}`, {
      bad: { match: 'a/{x', stream: 's' },
      good: { match: 'a/{x}', stream: 's' },
    });
    expect(answer).toMatchObject({
      status: 200,
      body: { created: { mappings: 1 }, skipped: [{ kind: 'mappings', name: 'bad' }] },
    });
  },
);
