/**
 * `npm run bench`: starts the gateway and, where they are installed, the brokers it is compared with, drives all of them
 * in one run and prints messages a second, CPU, latency, loss and the ratio to each peer. The method is told in
 * docs/performance.md. Exit status 1 when a floor was missed, 2 when something could not run.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeMissing, type Peer } from '../peers/programs.ts';
import {
  type Broker,
  buildGateway,
  startGateway,
  startKafka,
  startMosquitto,
  startRabbitMq,
  startSecuredGateway,
} from './brokers.ts';
import { type Case, type Contender, type Effort, FULL, GROUPS, type Group, QUICK } from './cases.ts';
import { type Footprint, measureFootprint } from './footprint.ts';
import { findMedian } from './measure.ts';
import {
  type CaseResult,
  formatFootprints,
  formatTable,
  formatVerdicts,
  judgeFloor,
  judgeFootprint,
  judgeLoss,
  NAMES,
} from './report.ts';
import { type Figures, keepGeneratorAwake } from './tools.ts';

const USAGE = `npm run bench -- [options]

  --only TEXT   groups or cases whose name contains TEXT (repeatable): mqtt, amqp, kafka, cross, footprint, qos1 ...
  --quick       short runs that show that everything works; not for publishing
  --asleep      lets the generator's core fall asleep while it waits
  --json FILE   writes every figure there
  --write       puts the tables into docs/performance.md
`;

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [] },
    quick: { type: 'boolean', default: false },
    asleep: { type: 'boolean', default: false },
    json: { type: 'string' },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const effort: Effort = options.quick ? QUICK : FULL;
const note = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

const starters: Record<Contender, () => Promise<Broker>> = {
  'gateway-fsync': () => startGateway('fsync'),
  'gateway-os': () => startGateway('os'),
  'gateway-secured': startSecuredGateway,
  mosquitto: startMosquitto,
  rabbitmq: startRabbitMq,
  kafka: startKafka,
};

const needs: Record<Contender, readonly Peer[]> = {
  'gateway-fsync': ['taskset'],
  'gateway-os': ['taskset'],
  'gateway-secured': ['taskset', 'mosquitto'],
  mosquitto: ['mosquitto', 'taskset'],
  rabbitmq: ['rabbitmq', 'taskset'],
  kafka: ['kafka', 'java', 'taskset'],
};

/** The median of each figure over the runs; losses add up. */
function combineFigures(runs: readonly Figures[]): Figures {
  const combined: Record<string, number> = {};
  for (const name of new Set(runs.flatMap((run) => Object.keys(run))) as Set<keyof Figures>) {
    const values = runs.flatMap((run) => run[name] ?? []);
    combined[name] = name === 'lost' ? values.reduce((sum, value) => sum + value, 0) : findMedian(values);
  }
  return combined;
}

const isChosen = (group: Group, one: Case): boolean =>
  options.only.length === 0 || options.only.some((text) => group.id.includes(text) || one.id.includes(text));

/** Consumer cases read what the producer case before them wrote, so that one comes along. */
function chooseCases(group: Group): Case[] {
  const chosen = group.cases.filter((one) => isChosen(group, one));
  const needed = (one: Case): boolean =>
    chosen.includes(one) || chosen.some((other) => other.id === one.id.replace(/^produce/, 'consume'));
  return group.cases.filter(needed);
}

async function measureGroup(group: Group): Promise<CaseResult[]> {
  const cases = chooseCases(group);
  const results = cases.map((one) => ({ group, case: one, figures: new Map(), missing: new Map() }));
  const contenders = [...new Set(cases.flatMap((one) => one.contenders))];
  const runs = (one: Case): number => (options.quick ? 1 : one.runs);
  const collected = new Map<string, Figures[]>();

  const measureOnce = async (
    result: CaseResult,
    contender: Contender,
    broker: Broker,
    run: number,
  ): Promise<void> => {
    const missing = result.missing as Map<Contender, string>;
    if (!result.case.contenders.includes(contender) || missing.has(contender)) return;
    const key = `${result.case.id} ${contender}`;
    try {
      const figures = await result.case.measure(broker, run, effort);
      collected.set(key, [...(collected.get(key) ?? []), figures]);
      note(`${group.id} ${key}: ${JSON.stringify(figures)}`);
    } catch (error) {
      note(`${group.id} ${key} failed: ${error instanceof Error ? error.message : String(error)}`);
      missing.set(contender, 'failed');
    }
  };
  const start = async (contender: Contender): Promise<Broker | null> => {
    const missing = describeMissing(...needs[contender]);
    try {
      if (missing === null) return await starters[contender]();
      note(`${NAMES[contender]}: ${missing}`);
    } catch (error) {
      note(`${NAMES[contender]} does not start: ${error instanceof Error ? error.message : String(error)}`);
    }
    for (const result of results)
      result.missing.set(contender, missing === null ? 'does not start' : 'not installed');
    return null;
  };

  const brokers = new Map<Contender, Broker>();
  const startAgain = async (again: readonly Contender[]): Promise<void> => {
    for (const contender of again) {
      await brokers.get(contender)?.stop();
      brokers.delete(contender);
      const broker = await start(contender);
      if (broker !== null) brokers.set(contender, broker);
    }
  };
  try {
    if (group.sideBySide) {
      for (const contender of contenders) {
        const broker = await start(contender);
        if (broker !== null) brokers.set(contender, broker);
      }
      for (const result of results) {
        for (let run = 0; run < runs(result.case); run++) {
          if (run > 0 && result.case.startsAfresh === true) await startAgain(result.case.contenders);
          for (const [contender, broker] of brokers) await measureOnce(result, contender, broker, run);
        }
      }
    } else {
      for (const contender of contenders) {
        const broker = await start(contender);
        if (broker === null) continue;
        brokers.set(contender, broker);
        for (const result of results) {
          for (let run = 0; run < runs(result.case); run++) await measureOnce(result, contender, broker, run);
        }
        brokers.delete(contender);
        await broker.stop();
      }
    }
  } finally {
    for (const broker of brokers.values()) await broker.stop();
  }
  for (const result of results) {
    for (const contender of result.case.contenders) {
      const runsOfOne = collected.get(`${result.case.id} ${contender}`);
      if (runsOfOne !== undefined) result.figures.set(contender, combineFigures(runsOfOne));
    }
  }
  return results;
}

async function measureFootprints(): Promise<Footprint[]> {
  const footprints: Footprint[] = [];
  for (const contender of ['gateway-fsync', 'mosquitto'] as const) {
    if (describeMissing(...needs[contender]) !== null) continue;
    const footprint = await measureFootprint(
      starters[contender],
      options.quick ? 1000 : 10_000,
      options.quick ? 1 : 5,
    );
    note(`footprint ${contender}: ${JSON.stringify(footprint)}`);
    footprints.push(footprint);
  }
  return footprints;
}

const MARKS = ['<!-- figures: begin -->', '<!-- figures: end -->'] as const;

/** Puts the tables between the two marks of the document, or into it where they are not written by `--write`. */
function writeDocument(tables: string): void {
  const path = join(fileURLToPath(import.meta.url), '../../../docs/performance.md');
  const text = readFileSync(path, 'utf8');
  const [begin, end] = [text.indexOf(MARKS[0]), text.indexOf(MARKS[1])];
  if (begin < 0 || end < begin) throw new Error(`${path} lacks the marks ${MARKS.join(' and ')}`);
  writeFileSync(path, `${text.slice(0, begin + MARKS[0].length)}\n${tables}\n\n${text.slice(end)}`);
}

async function main(): Promise<number> {
  if (options.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (cpus().length < 2) {
    note('The benchmark needs two cores: one for the broker, one for the generator.');
    return 2;
  }
  buildGateway();
  const results: CaseResult[] = [];
  const footprints: Footprint[] = [];
  const letSleep = options.asleep ? () => {} : keepGeneratorAwake();
  try {
    for (const group of GROUPS) {
      if (chooseCases(group).length > 0) results.push(...(await measureGroup(group)));
    }
    if (options.only.length === 0 || options.only.some((text) => 'footprint'.includes(text)))
      footprints.push(...(await measureFootprints()));
  } finally {
    letSleep();
  }
  const verdicts = [
    ...results.flatMap((result) => [
      ...result.case.floors.map((floor) => judgeFloor(result, floor)),
      judgeLoss(result),
    ]),
    ...footprints.filter((one) => one.name === 'RosettaMQ').flatMap(judgeFootprint),
  ];
  const tables = formatTable(results) + (footprints.length > 0 ? `\n${formatFootprints(footprints)}` : '');
  const where = `${cpus()[0]?.model.trim()}, ${cpus().length} cores, Node.js ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}`;
  const document = `${options.quick ? '**Short runs, not for publishing.** ' : ''}${where}\n${tables}\n\n${formatVerdicts(verdicts)}`;
  process.stdout.write(`${document}\n`);
  if (options.write) writeDocument(document);
  if (options.json !== undefined) {
    const figures = results.map((one) => ({ case: one.case.id, figures: Object.fromEntries(one.figures) }));
    writeFileSync(options.json, `${JSON.stringify({ where, figures, footprints, verdicts }, null, 2)}\n`);
  }
  if (results.some((result) => [...result.missing].some(([contender]) => contender.startsWith('gateway'))))
    return 2;
  return verdicts.some((verdict) => verdict.met === false) ? 1 : 0;
}

process.exitCode = await main();
