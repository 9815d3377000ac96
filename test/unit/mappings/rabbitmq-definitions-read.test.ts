/** What RabbitMQ exports, read as definitions of the core; what cannot be taken over is told and refuses nothing else. */

import { describe, expect, it } from 'vitest';
import { definitionsFromRabbitmq } from '../../../mappings/rabbitmq-definitions.ts';

const only = (kind: string, item: object) => definitionsFromRabbitmq({ [kind]: [item] });

describe('a queue', () => {
  it('has the bounds that its arguments say', () => {
    const given = {
      'x-max-length': 5,
      'x-max-length-bytes': 6,
      'x-message-ttl': 7,
      'x-expires': 8,
      'x-overflow': 'reject-publish',
      'x-dead-letter-exchange': 'dlx',
      'x-dead-letter-routing-key': 'a.b/c',
      'x-queue-type': 'quorum',
    };
    const { queues, skipped } = only('queues', { name: 'q', vhost: '/', durable: true, arguments: given });
    expect(skipped).toEqual([]);
    expect(queues).toMatchObject([
      {
        name: 'q',
        durable: true,
        messagesMax: 5,
        bytesMax: 6,
        messageTtlMs: 7,
        expiresMs: 8,
        overflow: 'reject',
        deadLetter: { exchange: 'dlx', key: 'a/b.c' },
      },
    ]);
    expect(queues[0]!.arguments[0]).toEqual({ name: 'x-max-length', value: { kind: 'i64', value: 5n } });
  });

  it.each([
    [{ name: 'q', arguments: { 'x-queue-type': 'stream' } }, /make a stream/],
    [{ name: 'q', vhost: 'other' }, /virtual host other/],
    [{ name: 'q', arguments: { 'x-max-length': 'many' } }, /x-max-length/],
    [{ name: 'q', durable: 'yes' }, /durable/],
    [{ name: '$SYS' }, /begin with \$/],
    [{ name: 'x'.repeat(256) }, /255 bytes/],
    [{}, /no name/],
  ])('that is %j is told', (item, reason) => {
    const { queues, skipped } = only('queues', item);
    expect(queues).toEqual([]);
    expect(skipped).toMatchObject([{ kind: 'queues', reason: expect.stringMatching(reason) }]);
  });
});

describe('an exchange and its bindings', () => {
  it('are read, the key with its levels', () => {
    const { exchanges, bindings, skipped } = definitionsFromRabbitmq({
      exchanges: [
        { name: 'shop', type: 'topic', durable: true, arguments: { 'alternate-exchange': 'rest' } },
        { name: 'sizes', type: 'headers', internal: true, auto_delete: true, arguments: [] },
        { name: 'amq.topic', type: 'topic' },
        { name: 'late', type: 'x-delayed-message' },
      ],
      bindings: [
        { source: 'shop', destination: 'q', destination_type: 'queue', routing_key: 'eu.*', arguments: {} },
        {
          source: 'sizes',
          destination: 'shop',
          destination_type: 'exchange',
          routing_key: '',
          arguments: { 'x-match': 'any', size: 'L' },
        },
        { source: '', destination: 'q', destination_type: 'queue', routing_key: 'q' },
      ],
    });
    expect(exchanges).toMatchObject([
      { name: 'shop', type: 'topic', alternate: 'rest' },
      { name: 'sizes', type: 'headers', internal: true, autoDelete: true },
    ]);
    expect(bindings).toMatchObject([
      { exchange: 'shop', target: { kind: 'queue', name: 'q' }, key: 'eu/*', match: null },
      {
        exchange: 'sizes',
        target: { kind: 'exchange' },
        match: { mode: 'any', headers: [{ name: 'size' }] },
      },
    ]);
    expect(skipped).toMatchObject([{ kind: 'exchanges', name: 'late' }]);
  });
});

describe('a user', () => {
  const hash = Buffer.concat([Buffer.from('salt'), Buffer.alloc(32, 1)]).toString('base64');

  it('keeps its hash, its salt apart, and has its tags as groups', () => {
    const { users } = only('users', { name: 'ann', password_hash: hash, tags: ['administrator', 'x'] });
    const digest = Buffer.alloc(32, 1).toString('base64');
    expect(users).toEqual([
      { name: 'ann', passwordHash: `$salted-sha256$c2FsdA==$${digest}`, groups: ['administrator', 'x'] },
    ]);
    expect(only('users', { name: 'bob', password_hash: hash, tags: 'a,b' }).users[0]!.groups).toEqual([
      'a',
      'b',
    ]);
  });

  it.each([
    [{ name: 'x', password_hash: '' }, /no password/],
    [{ name: 'x', password_hash: hash, hashing_algorithm: 'rabbit_password_hashing_md5' }, /md5/],
    [{ name: 'x', password_hash: hash, hashing_algorithm: '__proto__' }, /__proto__/],
    [{ name: 'x', password_hash: 'AAAA' }, /another length/],
  ])('that is %j is told, without its hash', (item, reason) => {
    const { users, skipped } = only('users', item);
    expect(users).toEqual([]);
    expect(skipped).toMatchObject([{ kind: 'users', name: 'x', reason: expect.stringMatching(reason) }]);
    expect(JSON.stringify(skipped)).not.toContain(hash);
  });
});

it('tells what has no counterpart', () => {
  const file = {
    policies: [{ name: 'ha' }],
    permissions: [{ user: 'ann', vhost: '/' }],
    topic_permissions: [],
  };
  const { skipped } = definitionsFromRabbitmq(file);
  expect(skipped.map(({ kind, name }) => `${kind} ${name}`).sort()).toEqual([
    'permissions ann',
    'policies ha',
  ]);
});

it.each([[null], [[]], ['x'], [{ queues: {} }], [{ users: [null] }]])('refuses %j as a whole', (file) => {
  expect(() => definitionsFromRabbitmq(file)).toThrow(/is no/);
});
