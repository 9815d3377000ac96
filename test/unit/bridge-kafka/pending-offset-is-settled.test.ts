/**
 * Before a link that sends exactly once takes its name over it asks how the last transaction of that name ended, and ends
 * in the same way what that may have left pending; also where the answer to the take-over itself was lost. The coordinator
 * here says what Apache Kafka does: how it ended until a producer id was given, and nothing from then on.
 */
import { NetworkError } from '@platformatic/kafka';
import { expect, it } from 'vitest';
import { TransactionalSending } from '../../../adapters/bridge-kafka/transactions.ts';
import * as wire from '../../../adapters/bridge-kafka/wire.ts';

const nameOf = (api: unknown) => Object.entries(wire).find(([, each]) => each === api)?.[0];

/** What is asked of the coordinator until the link is open. */
async function begin(end: string, isAnswerLost: boolean): Promise<string[]> {
  let state = end;
  let isLost = isAnswerLost;
  const asked: string[] = [];
  const cluster = {
    closed: false,
    nowMs: () => 0,
    wait: async () => {},
    waits: () => {},
    forgetCoordinator: () => {},
    coordinatorOf: async () => ({}),
    async request(_broker: unknown, api: unknown, ...args: unknown[]) {
      const name = nameOf(api) ?? '';
      asked.push(name === 'END_TXN' ? `${name} ${args.at(-1)}` : name);
      if (name === 'DESCRIBE_TRANSACTIONS') return { transactionStates: [{ transactionState: state }] };
      if (name === 'STABLE_OFFSET_FETCH') return { groups: [] };
      if (name !== 'INIT_PRODUCER_ID') return {};
      state = 'Empty';
      if (isLost) {
        isLost = false;
        throw new NetworkError('connection closed');
      }
      return { producerId: 1n, producerEpoch: 1 };
    },
  };
  const settings = { compression: 'none', deliveryTimeoutMs: 5_000, transactionTimeoutMs: 5_000 };
  const connection = { requestTimeoutMs: 1_000 };
  await new TransactionalSending({ cluster, settings } as never, 'name', connection as never).begin();
  return asked;
}

it.each([
  ['CompleteCommit', false, 'END_TXN true'],
  ['CompleteCommit', true, 'END_TXN true'],
  ['CompleteAbort', false, 'END_TXN false'],
  ['CompleteAbort', true, 'END_TXN false'],
] as const)('after %s, the answer to the take-over lost: %s', async (state, isAnswerLost, end) => {
  const asked = await begin(state, isAnswerLost);
  expect(asked.filter((each) => each.startsWith('END_TXN'))).toEqual([end]);
  expect(asked.indexOf(end)).toBeLessThan(asked.indexOf('STABLE_OFFSET_FETCH'));
});

it('nothing is settled where the broker does not say', async () => {
  expect(await begin('Empty', false)).not.toContainEqual(expect.stringContaining('END_TXN'));
});
