/** What may be said of an outside broker of AMQP, with which defaults, and what of it is refused. */
import type { TSchema } from 'typebox';
import { Check, Default } from 'typebox/value';
import { describe, expect, it } from 'vitest';
import { createAmqp10BridgeDriver } from '../../../adapters/bridge-amqp10/index.ts';
import { addressesOf } from '../../../adapters/bridge-amqp091/connection.ts';
import { createAmqp091BridgeDriver } from '../../../adapters/bridge-amqp091/index.ts';
import type { OutsideAmqp091 } from '../../../adapters/bridge-amqp091/settings.ts';
import type { BridgeDriver } from '../../../src/outside.ts';

const amqp091 = createAmqp091BridgeDriver();
const amqp10 = createAmqp10BridgeDriver();

const fill = (schema: TSchema, value: object): Record<string, unknown> =>
  Default(schema, structuredClone(value)) as Record<string, unknown>;

describe.each([amqp091, amqp10])('the driver $type', (driver) => {
  it('takes a connection and options of which nothing is said', () => {
    for (const schema of [driver.connectionSchema, driver.optionsSchema.out, driver.optionsSchema.in]) {
      expect(Check(schema, fill(schema, {}))).toBe(true);
      expect(Check(schema, fill(schema, { unknown: 1 }))).toBe(false);
    }
  });

  it('describes everything that can be said', () => {
    for (const schema of [driver.connectionSchema, driver.optionsSchema.out, driver.optionsSchema.in]) {
      const { properties } = schema as unknown as {
        readonly properties: Record<string, { description?: string }>;
      };
      const silent = Object.entries(properties).filter(([, { description }]) => !description);
      expect(silent).toEqual([]);
    }
  });

  it('takes a password as text or as where it is', () => {
    const check = (password: unknown): boolean =>
      Check(driver.connectionSchema, fill(driver.connectionSchema, { password }));
    for (const password of ['text', { env: 'NAME' }, { file: '/run/secret' }, { kept: true }]) {
      expect(check(password)).toBe(true);
    }
    expect(check({ env: '' })).toBe(false);
  });

  it('refuses a source that is none', () => {
    expect(() => driver.checkSource('')).toThrow(/cannot be empty/);
    expect(() => driver.checkSource('x'.repeat(3000))).toThrow(/at most/);
    expect(() => driver.checkSource('orders')).not.toThrow();
  });
});

describe('a connection to AMQP 0-9-1', () => {
  const textsOf = (value: object): string[] => {
    const settings = fill(amqp091.connectionSchema, value) as unknown as OutsideAmqp091;
    return addressesOf(settings).map(({ text }) => text);
  };

  it('has the usual port unless it is told another', () => {
    expect(textsOf({})).toEqual(['localhost:5672']);
    expect(textsOf({ tls: { enabled: true } })).toEqual(['localhost:5671']);
    expect(textsOf({ host: 'a', port: 1, addresses: ['b', 'c:2', '[::1]', '[::1]:3'] })).toEqual([
      'a:1',
      'b:5672',
      'c:2',
      '[::1]:5672',
      '[::1]:3',
    ]);
  });

  it('refuses addresses that are none', () => {
    for (const address of ['', 'a b', 'amqp://a', 'a:', 'a:port', '::1']) {
      const settings = fill(amqp091.connectionSchema, { addresses: [address] });
      expect(Check(amqp091.connectionSchema, settings), address).toBe(false);
    }
  });
});

describe('what a message would come back as', () => {
  const back = (driver: BridgeDriver, address: string, options: object = {}): unknown =>
    driver.comesBackAs?.(address, fill(driver.optionsSchema.out, options));

  it('is told by the exchange that AMQP 0-9-1 publishes to', () => {
    expect(back(amqp091, 'a/b.c')).toBe('a/b.c');
    expect(back(amqp091, 'orders/eu/new', { exchange: 'from-address' })).toBe('orders/eu/new');
    expect(back(amqp091, 'eu/new', { exchange: 'orders' })).toBe('orders/eu/new');
    expect(back(amqp091, 'jobs', { exchange: '' })).toBe('$queue/jobs');
    const long = 'level/'.repeat(60);
    expect(back(amqp091, long)).toBe(long);
  });

  it('cannot be told where AMQP 1.0 sends everything to one node', () => {
    expect(back(amqp10, 'a/b')).toBe('a/b');
    expect(back(amqp10, 'a/b', { target: 'one' })).toBeNull();
  });
});
