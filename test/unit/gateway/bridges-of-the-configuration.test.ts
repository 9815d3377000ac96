import { expect, it } from 'vitest';
import { ANONYMOUS, Message } from '../../../src/core/index.ts';
import { LinkError } from '../../../src/outside.ts';
import { FakeOutside } from '../../support/fake-driver.ts';
import { startTestGateway } from '../../support/gateway.ts';

it('a gateway starts without its bridges, is not ready without those that it requires, and finishes what is on its way', async () => {
  const outside = new FakeOutside();
  outside.refusal = new LinkError('unreachable', 'nobody there');
  const gateway = await startTestGateway({
    parts: { drivers: [{ type: 'fake', load: async () => outside }] },
    settings: {
      'log.level': 'silent',
      connections: JSON.stringify({ c: { type: 'fake', password: 'hidden' } }),
      bridges: JSON.stringify({
        b: {
          connection: 'c',
          direction: 'out',
          mappings: [{ match: 'a/{x}', topic: 'there/{x}' }],
          required: true,
          retry: { minMs: 10, maxMs: 50 },
        },
      }),
    },
  });
  try {
    const ready = async () => (await fetch(`${gateway.url}/readyz?verbose=true`)).json();
    await expect.poll(ready).toMatchObject({
      status: 'failing',
      failing: ['bridge:b'],
      checks: expect.arrayContaining([{ name: 'bridge:b', ok: false, detail: 'disconnected' }]),
    });
    const publisher = gateway.core.openPublisher({ principal: ANONYMOUS, congested: () => undefined });
    publisher.publish(new Message({ address: 'a/1', body: Buffer.from('1'), reliability: 1 }), null, 0);
    outside.refusal = null;
    await expect.poll(() => outside.bodies).toEqual(['1']);
    expect(outside.got[0]?.message.address).toBe('there/1');
    expect(outside.opened[0]?.gatewayId).toMatch(/^[0-9a-f]{32}$/);
    expect(await ready()).toMatchObject({ status: 'ok', failing: [] });
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text();
    expect(metrics).toContain('bridge_state{bridge="b",state="connected"} 1');
    expect(metrics).toContain('bridge_done_total{bridge="b"} 1');
    const configuration = await (await fetch(`${gateway.url}/v1/configuration`)).text();
    expect(configuration).not.toContain('hidden');
    outside.isHeld = true;
    publisher.publish(new Message({ address: 'a/1', body: Buffer.from('2'), reliability: 1 }), null, 0);
    await expect.poll(() => outside.link.sent.length).toBe(2);
    const stopping = gateway.stop();
    outside.letGo();
    await stopping;
    expect(outside.bodies).toEqual(['1', '2']);
    expect(outside.link.isClosed).toBe(true);
  } finally {
    await gateway.stop();
  }
});

it('a gateway whose configuration has a bridge that cannot be says which field is wrong', async () => {
  const starting = startTestGateway({
    parts: { drivers: [] },
    settings: { 'log.level': 'silent', connections: JSON.stringify({ c: { type: 'fake' } }) },
  });
  await expect(starting).rejects.toThrow('connections.c.type in the configuration: there are no types');
});
