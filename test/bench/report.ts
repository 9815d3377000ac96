/**
 * Turns measured figures into text: a table in Markdown for the terminal and for docs/performance.md, and the verdict
 * on each floor. A figure that was not measured is a dash.
 */
import type { Case, Contender, Floor, Group } from './cases.ts';
import type { Footprint } from './footprint.ts';
import type { Figures } from './tools.ts';

export const NAMES: Record<Contender, string> = {
  'gateway-fsync': 'RosettaMQ',
  'gateway-os': 'RosettaMQ (`os`)',
  'gateway-secured': 'RosettaMQ with users and rights',
  mosquitto: 'Mosquitto',
  rabbitmq: 'RabbitMQ',
  kafka: 'Apache Kafka',
};

export interface CaseResult {
  readonly group: Group;
  readonly case: Case;
  readonly figures: ReadonlyMap<Contender, Figures>;
  /** Why a contender has no figures. */
  readonly missing: ReadonlyMap<Contender, string>;
}

export interface Verdict {
  readonly case: string;
  readonly text: string;
  /** The ratio, or the figure itself for an absolute floor; absent where it could not be measured. */
  readonly value: number | null;
  readonly met: boolean | null;
}

export function judgeFloor(result: CaseResult, floor: Floor): Verdict {
  const own = result.figures.get(floor.of)?.[floor.figure];
  const peer = floor.against === undefined ? 1 : result.figures.get(floor.against)?.[floor.figure];
  const text = `${floor.text}${floor.against === undefined ? '' : ` (${NAMES[floor.against]})`}`;
  if (own === undefined || peer === undefined) return { case: result.case.id, text, value: null, met: null };
  const value = own / peer;
  const met = floor.direction === 'least' ? value >= floor.at : value <= floor.at;
  return { case: result.case.id, text, value, met };
}

export function judgeLoss(result: CaseResult): Verdict {
  const own = [...result.figures].filter(([contender]) => contender.startsWith('gateway'));
  const text = 'nothing lost';
  if (own.length === 0) return { case: result.case.id, text, value: null, met: null };
  const lost = own.reduce((sum, [, figures]) => sum + (figures.lost ?? 0), 0);
  return { case: result.case.id, text, value: lost, met: lost === 0 };
}

export function judgeFootprint(footprint: Footprint): Verdict[] {
  const bounds: [string, number, number][] = [
    [
      `under 12 KB for each of ${footprint.connections} idle connections`,
      footprint.kilobytesPerConnection,
      12,
    ],
    ['under 120 MiB resident when idle', footprint.idleMebibytes, 120],
    ['listening in under 1000 ms', footprint.startMs, 1000],
  ];
  return bounds.map(([text, value, most]) => ({ case: 'footprint', text, value, met: value < most }));
}

function formatCount(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return '–';
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 1e4) return `${Math.round(value / 1e3)} k`;
  return value.toFixed(0);
}

const formatNumber = (value: number | undefined, digits: number): string =>
  value === undefined || Number.isNaN(value) ? '–' : value.toFixed(digits);

const formatUs = (us: number | undefined): string => formatNumber(us, 0);

function formatVerdict(verdict: Verdict): string {
  if (verdict.value === null) return `${verdict.text}: not measured`;
  return `${verdict.text}: ${verdict.value.toFixed(2)} ${verdict.met ? '✓' : '✗'}`;
}

export function formatTable(results: readonly CaseResult[]): string {
  const lines: string[] = [];
  let group = '';
  for (const result of results) {
    if (result.group.title !== group) {
      group = result.group.title;
      lines.push('', `### ${group}`, '');
      lines.push(
        '| case | broker | messages/s | CPU µs/message | p50 / p99 µs | lost | generator busy | floor |',
      );
      lines.push('|---|---|---:|---:|---:|---:|---:|---|');
    }
    const verdicts = result.case.floors.map((floor) => formatVerdict(judgeFloor(result, floor))).join('; ');
    for (const [index, contender] of result.case.contenders.entries()) {
      const figures = result.figures.get(contender);
      const reason = result.missing.get(contender);
      const title = index === 0 ? result.case.title : '';
      const cells = figures
        ? [
            formatCount(figures.perSecond),
            formatNumber(figures.cpuUs, 2),
            `${formatUs(figures.p50Us)} / ${formatUs(figures.p99Us)}`,
            formatNumber(figures.lost, 0),
            formatNumber(figures.generatorShare, 2),
          ]
        : [reason ?? 'not measured', '–', '–', '–', '–'];
      lines.push(`| ${[title, NAMES[contender], ...cells, index === 0 ? verdicts : ''].join(' | ')} |`);
    }
  }
  return lines.join('\n');
}

export function formatFootprints(footprints: readonly Footprint[]): string {
  const lines = [
    '',
    '### Footprint',
    '',
    '| broker | start to listening | idle, resident | for each idle MQTT connection |',
    '|---|---:|---:|---:|',
  ];
  for (const one of footprints) {
    const start = `${one.startMs.toFixed(0)} ms`;
    const idle = `${one.idleMebibytes.toFixed(0)} MiB`;
    const each = `${one.kilobytesPerConnection.toFixed(1)} KB (${one.connections})`;
    lines.push(`| ${[one.name, start, idle, each].join(' | ')} |`);
  }
  return lines.join('\n');
}

export function formatVerdicts(verdicts: readonly Verdict[]): string {
  const failed = verdicts.filter((verdict) => verdict.met === false);
  const unknown = verdicts.filter((verdict) => verdict.met === null);
  const met = verdicts.length - failed.length - unknown.length;
  const lines = [`Floors: ${met} met, ${failed.length} missed, ${unknown.length} not measured`];
  for (const verdict of [...failed, ...unknown]) lines.push(`- ${verdict.case}: ${formatVerdict(verdict)}`);
  return lines.join('\n');
}
