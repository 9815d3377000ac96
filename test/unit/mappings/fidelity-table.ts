/**
 * The fidelity table of docs/mappings.md: for all sixteen directions between MQTT 5, AMQP 0-9-1, AMQP 1.0 and Kafka,
 * what of a message comes back as it was when a client of the other side passes on what it received. Run by hand
 * (`npm run fidelity:write`) it writes the table into the page; `fidelity-table.test.ts` checks that it is in step, so a
 * mapping that loses one thing more fails a test.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { amqp10FromMessage, messageFromAmqp10 } from '../../../mappings/amqp10.ts';
import { protocolViews } from '../../../mappings/http.ts';
import { Message } from '../../../src/core/index.ts';
import { FIELDS, type Field, NOW_MS } from './fidelity-fields.ts';

export const PAGE = new URL('../../../docs/mappings.md', import.meta.url);
const BEGIN = '<!-- The table is written by test/unit/mappings/fidelity-table.ts. -->\n';
const END = '<!-- End of the table. -->';

/** A client of one protocol: what it says of a message, and so what the gateway makes of that. */
interface Client {
  readonly protocol: string;
  /** The message that arrives when a client who was shown `message` publishes the same. */
  republish(message: Message): Message;
}

function clientOf(name: string, protocol: string): Client {
  const view = protocolViews.find((each) => each.protocol === protocol);
  if (view === undefined) throw new Error(`no view of ${protocol}`);
  return { protocol: name, republish: (message) => view.received(message, NOW_MS) };
}

export const CLIENTS: readonly Client[] = [
  clientOf('MQTT 5', 'mqtt'),
  clientOf('AMQP 0-9-1', 'amqp091'),
  {
    protocol: 'AMQP 1.0',
    republish: (message) =>
      messageFromAmqp10(amqp10FromMessage(message, NOW_MS), null, '', NOW_MS) as Message,
  },
  clientOf('Kafka', 'kafka'),
];

/** A change that is meant, and what it makes of a value. Anything else that changes is a loss. */
interface Change {
  readonly mark: string;
  readonly text: string;
  readonly applies: (field: Field, to: string) => boolean;
  readonly to: (fact: unknown) => unknown;
}

const CHANGES: readonly Change[] = [
  {
    mark: 'a',
    text: 'MQTT counts seconds: what is left is rounded up, so that it is never 0.',
    applies: (field) => field.name.startsWith('expiry'),
    to: (fact) => (fact === 0 ? 0 : NOW_MS + Math.ceil(((fact as number) - NOW_MS) / 1000) * 1000),
  },
  {
    mark: 'b',
    text: 'A record always has a timestamp: that of its arrival.',
    applies: (field, to) => field.name === 'no timestamp' && to === 'Kafka',
    to: () => NOW_MS,
  },
  {
    mark: 'c',
    text: 'Consumers are told by `x-gw-user`. What a publisher says of itself there is not believed.',
    applies: (field, to) => field.name === 'user id' && (to === 'MQTT 5' || to === 'Kafka'),
    to: () => undefined,
  },
  {
    mark: 'd',
    text: 'A content header is one frame. The oldest headers that do not fit are left out, and `x-gw-dropped-headers` counts them.',
    applies: (field, to) => field.name === 'headers over 128 KiB together' && to === 'AMQP 0-9-1',
    to: (fact) => (fact as readonly unknown[]).slice(1),
  },
];

export type Outcome = 'exact' | 'unsaid' | 'lost' | Change;

/** What becomes of `field` from a client of `from` by one of `to` and back. */
export function outcomeOf(field: Field, from: Client, to: Client): Outcome {
  const outcomes = field.samples.map((sample) => {
    const sent = new Message({
      address: 'a/b',
      body: Buffer.from('x'),
      timestampMs: NOW_MS,
      ...sample,
    });
    const born = from.republish(sent);
    const fact = comparable(field.read(born));
    if (!isDeepStrictEqual(fact, comparable(field.read(sent)))) return 'unsaid';
    const returned = comparable(field.read(from.republish(to.republish(born))));
    if (isDeepStrictEqual(returned, fact)) return 'exact';
    const change = CHANGES.find((each) => each.applies(field, to.protocol));
    return change !== undefined && isDeepStrictEqual(returned, comparable(change.to(fact))) ? change : 'lost';
  });
  const said = outcomes.filter((each) => each !== 'unsaid');
  if (said.length === 0) return 'unsaid';
  return said.includes('lost') ? 'lost' : (said.find((each) => each !== 'exact') ?? 'exact');
}

/** A value in a form that compares: bytes by content, times by the moment alone. */
function comparable(value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString('hex') };
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => name !== 'seconds')
      .map(([name, of]) => [name, comparable(of)]),
  );
}

export function tableText(): string {
  const rows = FIELDS.map((field) => {
    const cells = CLIENTS.map((from) => cellOf(CLIENTS.map((to) => [to, outcomeOf(field, from, to)])));
    return `| ${field.name} | ${cells.join(' | ')} |`;
  });
  return [
    `| | from ${CLIENTS.map(({ protocol }) => protocol).join(' | from ')} |`,
    `|---|${'---|'.repeat(CLIENTS.length)}`,
    ...rows,
    '',
    ...CHANGES.map(({ mark, text }) => `- ${mark}: ${text}`),
    '',
  ].join('\n');
}

function cellOf(outcomes: readonly (readonly [Client, Outcome])[]): string {
  if (outcomes.every(([, outcome]) => outcome === 'unsaid')) return 'not said';
  const others = outcomes.filter(([, outcome]) => outcome !== 'exact');
  if (others.length === 0) return '=';
  return others
    .map(([{ protocol }, outcome]) => `${protocol}: ${typeof outcome === 'object' ? outcome.mark : outcome}`)
    .join('; ');
}

/** The page with this table instead of the one that it holds. */
export function pageWith(page: string, table: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error('the page has no place for the table');
  return `${page.slice(0, begin + BEGIN.length)}\n${table}\n${page.slice(end)}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(PAGE, pageWith(readFileSync(PAGE, 'utf8'), tableText()));
}
