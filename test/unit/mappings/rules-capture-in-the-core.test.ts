/** Compiled rules in a real core: which messages they take, and with which key. */

import { expect, test } from 'vitest';
import { compileRule } from '../../../mappings/rules.ts';
import { ANONYMOUS, type CoreOptions, Message } from '../../../src/core/index.ts';
import { openTestCore } from '../../support/core.ts';

async function openWithRules() {
  const appended: [address: string, stream: string, key: string | null][] = [];
  const records: CoreOptions['records'] = {
    recordFromMessage: (message, stream, key) => {
      appended.push([message.address, stream, key === null ? null : Buffer.from(key).toString()]);
      return { key, value: message.body, headers: [], timestampMs: 1 };
    },
    messageFromRecord: (record, address) => new Message({ address, body: record.value ?? new Uint8Array(0) }),
  };
  const { core } = await openTestCore({ core: { compileRule, records } });
  const publisher = core.openPublisher({ principal: ANONYMOUS, congested: () => undefined });
  const publish = (address: string, key: string | null = null) =>
    publisher.publish(
      new Message({ address, body: Buffer.from('x'), key: key === null ? null : Buffer.from(key) }),
      null,
      0,
    );
  return { core, appended, publish };
}

test('text around a capture keeps other addresses out', async () => {
  const { core, appended, publish } = await openWithRules();
  await core.rules.put('dev', { match: 'x/dev-{id}', stream: 's', key: '{id}', partitions: 2 });
  publish('x/dev-1');
  publish('x/other');
  expect(appended).toEqual([['x/dev-1', 's', '1']]);
  await core.close();
});

test('the key of a rule goes before the key that a message brings; a stream’s own address keeps that', async () => {
  const { core, appended, publish } = await openWithRules();
  await core.rules.put('t', { match: 'devices/{device}/telemetry', stream: 'telemetry', key: '{device}' });
  publish('devices/d7/telemetry', 'own');
  publish('devices/d8/telemetry');
  publish('telemetry', 'own');
  expect(appended).toEqual([
    ['devices/d7/telemetry', 'telemetry', 'd7'],
    ['devices/d8/telemetry', 'telemetry', 'd8'],
    ['telemetry', 'telemetry', 'own'],
  ]);
  await core.close();
});
