/** What a link of AMQP holds of what came: until it is stored, also where that is refused, and nothing once it is closed. */
import { expect, it } from 'vitest';
import { type Arrival, InboundFlow } from '../../../adapters/bridge-amqp/inbound-flow.ts';
import { OneWayLink } from '../../../adapters/bridge-amqp/one-way-link.ts';
import { Message } from '../../../src/core/index.ts';
import { type InboundSink, LinkError, type LinkOptions, type TakeAnswer } from '../../../src/outside.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const REFUSED_PAUSE_MS = 1000;

function startFlow(bytesMax: number) {
  const clock = new ManualClock();
  const settled: number[] = [];
  const full: boolean[] = [];
  const taken: string[][] = [];
  const answering: ((answer: TakeAnswer) => Promise<void>)[] = [];
  const link = { name: 'test', clock, logger: quiet, delivery: 'at-least-once', inFlightMax: 10 };
  const flow = new InboundFlow<Arrival>(link as unknown as LinkOptions, {
    bytesMax,
    settle: (done) => settled.push(...done.map(({ number }) => number)),
    full: () => full.push(flow.isFull),
  });
  flow.start({
    take: (messages) => {
      taken.push(messages.map(({ address }) => address));
      const { promise, resolve } = Promise.withResolvers<readonly TakeAnswer[]>();
      answering.push(async (answer) => {
        resolve(messages.map(() => answer));
        for (let step = 0; step < 5; step++) await null;
      });
      return promise;
    },
  });
  const come = (number: number, bytes: number): void => {
    flow.came({ number, bytes, message: new Message({ address: String(number), body: Buffer.alloc(0) }) });
  };
  const answer = async (text: TakeAnswer): Promise<void> => await answering.shift()?.(text);
  return { answer, clock, come, flow, full, settled, taken };
}

it('is full with as many bytes as it may hold, until some are stored', async () => {
  const { answer, clock, come, flow, full, settled } = startFlow(100);
  come(1, 60);
  expect(flow.roomBytes).toBe(40);
  come(2, 50);
  expect([flow.roomBytes, full]).toEqual([0, [true]]);
  clock.endTurn();
  await answer('stored');
  expect([flow.roomBytes, full, settled]).toEqual([100, [true, false], [1, 2]]);
});

it('holds what is refused, and offers it again before what came behind it', async () => {
  const { answer, clock, come, flow, full, settled, taken } = startFlow(100);
  come(1, 100);
  clock.endTurn();
  await answer('refused');
  expect([flow.roomBytes, full, settled]).toEqual([0, [true], []]);
  come(2, 5);
  clock.endTurn();
  expect(taken).toEqual([['1']]);
  clock.advance(REFUSED_PAUSE_MS);
  expect(taken).toEqual([['1'], ['1', '2']]);
  await answer('stored');
  expect([flow.roomBytes, full, settled]).toEqual([100, [true, false], [1, 2]]);
});

it('holds nobody back once it is closed, and waits for what the sink has', async () => {
  const { answer, clock, come, flow, full, settled } = startFlow(100);
  come(1, 100);
  clock.endTurn();
  come(2, 100);
  let isStopped = false;
  const stopped = flow.stop().then(() => {
    isStopped = true;
  });
  expect([flow.isStopping, isStopped, full]).toEqual([true, false, [true, false]]);
  await answer('stored');
  await stopped;
  expect([settled, flow.roomBytes, clock.timerCount]).toEqual([[1], 100, 0]);
});

it('offers nothing again that is refused while it closes', async () => {
  const { answer, clock, come, flow, settled } = startFlow(100);
  come(1, 10);
  clock.endTurn();
  const stopped = flow.stop();
  await answer('refused');
  await stopped;
  expect([settled, flow.roomBytes, clock.timerCount]).toEqual([[], 100, 0]);
});

/** Receives what the test lets come, over a connection that has ended. */
class LinkThatEnded extends OneWayLink {
  readonly peer = null;
  protected readonly outbound = null;
  protected readonly inbound;

  constructor(flow: InboundFlow<Arrival>, link: LinkOptions) {
    super({ ended: new LinkError('closed', 'reset'), close: async () => {} }, link);
    this.inbound = {
      start: async (_sources: readonly string[], sink: InboundSink) => flow.start(sink),
      stop: () => flow.stop(),
    };
  }
}

it('offers nothing more when the connection has ended and the link is closed', async () => {
  const { answer, clock, come, flow, taken } = startFlow(100);
  const link = new LinkThatEnded(flow, { clock } as unknown as LinkOptions);
  come(1, 10);
  clock.endTurn();
  await answer('refused');
  await link.close();
  clock.advance(10 * REFUSED_PAUSE_MS);
  expect(taken).toEqual([['1']]);
  expect(flow.roomBytes).toBe(100);
});
