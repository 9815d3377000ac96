/** Compiled rules in a real core on a storage in memory, with what every destination got. */

import { compileRule } from '../../../mappings/rules.ts';
import {
  ANONYMOUS,
  type CoreOptions,
  type Delivery,
  type Header,
  type Limits,
  Message,
  type MessageFields,
  Pattern,
  type Principal,
} from '../../../src/core/index.ts';
import { openTestCore } from '../../support/core.ts';
import type { MemoryStorage } from '../../support/memory-storage.ts';

export interface Appended {
  readonly stream: string;
  readonly key: string | null;
  readonly message: Message;
}

export async function openRules(
  options: { storage?: MemoryStorage; limits?: Partial<Limits>; core?: Partial<CoreOptions> } = {},
) {
  const appended: Appended[] = [];
  const records: CoreOptions['records'] = {
    recordFromMessage: (message, stream, key) => {
      appended.push({ stream, key: key === null ? null : Buffer.from(key).toString(), message });
      return { key, value: message.body, headers: [], timestampMs: 1 };
    },
    messageFromRecord: (record, address) =>
      new Message({ address, body: record.value ?? new Uint8Array(0), key: record.key }),
  };
  const opened = await openTestCore({
    ...(options.storage === undefined ? {} : { storage: options.storage }),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    core: { compileRule, records, ...options.core },
  });
  const { core } = opened;
  const publish = (
    address: string,
    body: string | Uint8Array = 'x',
    fields: Partial<MessageFields> & { headers?: readonly Header[] } = {},
    principal: Principal = ANONYMOUS,
  ) => {
    const publisher = core.openPublisher({ principal, congested: () => undefined });
    const { headers, ...others } = fields;
    const message = new Message({
      address,
      body: Buffer.from(body),
      ...(headers === undefined ? {} : { properties: { headers } }),
      ...others,
    });
    const result = publisher.publish(message, null, 0);
    publisher.close();
    return result;
  };
  /** Everything that a session with this filter gets. */
  const subscribe = async (filter: string): Promise<Message[]> => {
    const seen: Message[] = [];
    const { session } = await core.sessions.open(`s-${filter}`, { clean: true, durable: false });
    const levels = filter.split('/').map((level) => (level === '+' ? 1 : level === '#' ? 2 : level));
    session.subscribe(new Pattern(levels as never), {
      reliability: 1,
      noLocal: false,
      keepRetain: true,
      id: 0,
    });
    const settle = (delivery: Delivery | null) => queueMicrotask(() => delivery?.settle('accepted'));
    session
      .attach({
        deliver: (message, _options, delivery) => {
          seen.push(message);
          settle(delivery);
        },
        cancelled: () => undefined,
      })
      .grant(Number.POSITIVE_INFINITY);
    return seen;
  };
  /** Everything that waits in a queue. */
  const drain = (name: string): Message[] => {
    const seen: Message[] = [];
    const consumer = {
      deliver: (message: Message) => void seen.push(message),
      cancelled: () => undefined,
    };
    const options = { settled: true, exclusive: false, priority: 0 };
    core.queues.get(name)?.consume(consumer, options).grant(1_000);
    return seen;
  };
  return { ...opened, appended, publish, subscribe, drain };
}

export const textOf = (message: Message | undefined): string => Buffer.from(message?.body ?? []).toString();
export const header = (message: Message | undefined, name: string) =>
  message?.properties.headers.find((each) => each.name === name)?.value;
