import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addressFromAmqp10, amqp10FromAddress, nodeKindFromCapabilities } from '../../../mappings/amqp10.ts';
import { codePoint } from '../../support/code-points.ts';

describe('an address', () => {
  test.each([
    ['sensors/room1', null, 'sensors/room1'],
    ['a.b/c', null, 'a.b/c'],
    ['$queue/work', null, '$queue/work'],
    ['work', 'queue', '$queue/work'],
    ['a/b', 'queue', '$queue/a%2Fb'],
    ['work', 'topic', 'work'],
    ['/queues/work', null, '$queue/work'],
    ['/queues/a%2Fb%20c', 'topic', '$queue/a%2Fb c'],
    ['/exchanges/orders/eu.new', null, 'orders/eu/new'],
    ['/exchanges/orders', null, 'orders'],
    ['/exchanges/amq.topic/sensors.room1', null, 'sensors/room1'],
    ['/exchanges/a%2Fb/k', null, 'a%2Fb/k'],
    ['topic://sensors/room1', null, 'sensors/room1'],
    ['queue://work', 'topic', '$queue/work'],
    ['/leading/slash', null, '/leading/slash'],
  ] as const)('%s with capability %s is %s', (name, kind, address) => {
    expect(addressFromAmqp10(name, kind)).toBe(address);
  });

  test.each([
    '',
    'nul\0',
    'topic://',
    'queue://',
    '/queues/',
    '/queues/a/b',
    '/queues/%zz',
    '/queues/%ff',
    '/exchanges/',
    '/exchanges//k',
    '/exchanges/x/k/more',
    '/exchanges/amq.topic/',
    '/exchanges/x/%00',
  ])('%j is none', (name) => {
    expect(addressFromAmqp10(name, null)).toBeNull();
  });

  test('leads back to itself from its name, whatever it is', () => {
    const level = fc.oneof(
      fc.string({ unit: codePoint, maxLength: 6 }).map((each) => each.replaceAll('\0', '')),
      fc.constantFrom('', 'queues', 'exchanges', 'topic:', 'queue:', '%2F', '$queue', 'a.b'),
    );
    fc.assert(
      fc.property(fc.array(level, { minLength: 1, maxLength: 5 }), (levels) => {
        const address = levels.join('/');
        fc.pre(address !== '');
        expect(addressFromAmqp10(amqp10FromAddress(address), null)).toBe(address);
        if (levels[0] !== '' && !levels[0]?.endsWith(':')) expect(amqp10FromAddress(address)).toBe(address);
      }),
      { numRuns: 5_000 },
    );
  });
});

test('capabilities say what a terminus means', () => {
  expect(nodeKindFromCapabilities(['queue'])).toBe('queue');
  expect(nodeKindFromCapabilities(['shared', 'topic'])).toBe('topic');
  expect(nodeKindFromCapabilities(['temporary-queue'])).toBe('queue');
  expect(nodeKindFromCapabilities(['global'])).toBeNull();
});
