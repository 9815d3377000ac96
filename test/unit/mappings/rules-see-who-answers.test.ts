/** A rule that asks who published is told the responder where an answer comes by a reply token. */

import { expect, it } from 'vitest';
import { Message } from '../../../src/core/index.ts';
import { openRules, textOf } from './rules-world.ts';

it('an answer by a reply token is its responder’s, whoever published before', async () => {
  const { core, publish, drain } = await openRules();
  await core.rules.put('of-root', {
    from: { match: 'answers/{x}', where: { principal: 'root' } },
    to: [{ endpoint: 'queue:trusted' }],
  });
  const token = core.replies.addressFor(
    new Message({ address: 'asks', body: Buffer.of(), properties: { headers: [], replyTo: 'answers/1' } }),
  ) as string;
  const by = (user: string) => ({ user, groups: [], clientId: user });
  publish('anything', 'x', {}, by('root'));
  publish(token, 'of eve', {}, by('eve'));
  publish('anything', 'x', {}, by('eve'));
  publish(token, 'of root', {}, by('root'));
  expect(drain('trusted').map(textOf)).toEqual(['of root']);
  await core.close();
});
