/** What is wrong in settings is refused with its place and the nearest name; sources are laid over each other in order. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Type from 'typebox';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  ConfigError,
  type ConfigShape,
  type ConfigSources,
  loadConfig,
  printConfig,
  printReference,
} from '../../../src/config/index.ts';
import { configShape } from '../../../src/main.ts';

const shape: ConfigShape = {
  sections: {
    wire: Type.Object(
      {
        port: Type.Integer({ default: 7000, minimum: 0, maximum: 65_535, description: 'Port' }),
        idleTimeoutMs: Type.Integer({ default: 1_000, minimum: 1, description: 'Idle' }),
        names: Type.Array(Type.String({ minLength: 2 }), { default: [], description: 'Names' }),
        advertised: Type.Union([Type.String(), Type.Null()], { default: null, description: 'Advertised' }),
        inner: Type.Object(
          { mode: Type.Union([Type.Literal('a'), Type.Literal('b')], { default: 'a', description: 'Mode' }) },
          { additionalProperties: false, default: {}, description: 'Inner' },
        ),
      },
      { additionalProperties: false, default: {}, description: 'A wire.' },
    ),
  },
  shortcuts: [{ flag: 'wire-port', value: 'port', description: 'port', paths: ['wire.port'] }],
};

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rosettamq-config-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function load(sources: Partial<ConfigSources>) {
  return loadConfig(shape, { file: '/dev/null', environment: {}, assignments: [], flags: {}, ...sources });
}

function problemsOf(sources: Partial<ConfigSources>): readonly string[] {
  try {
    load(sources);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('sources', () => {
  it('go over each other: defaults, file, environment, flags, --set', () => {
    const file = write(
      'c.yaml',
      'wire:\n  port: 1\n  idleTimeoutMs: 11\n  names: [ab]\n  inner:\n    mode: b\n',
    );
    const environment = { ROSETTAMQ_WIRE__PORT: '2', ROSETTAMQ_WIRE__IDLE_TIMEOUT_MS: '12', OTHER: 'x' };
    const config = load({ file, environment, flags: { 'wire-port': '3' }, assignments: ['wire.port=4'] });
    expect(config.sections.wire).toEqual({
      port: 4,
      idleTimeoutMs: 12,
      names: ['ab'],
      advertised: null,
      inner: { mode: 'b' },
    });
    expect(config.origins.get('wire.port')).toBe('--set wire.port');
    expect(config.origins.get('wire.idleTimeoutMs')).toBe('environment ROSETTAMQ_WIRE__IDLE_TIMEOUT_MS');
    expect(config.origins.get('wire.inner.mode')).toMatch(/c\.yaml:6$/);
    expect(config.host.storage.durability).toBe('fsync');
  });

  it('of the environment hold for one setting over several, whatever the alphabet says', () => {
    const both: ConfigShape = {
      ...shape,
      shortcuts: [{ flag: 'all', value: 'port', description: 'port', paths: ['another.port', 'wire.port'] }],
      sections: { another: shape.sections.wire as ConfigShape['sections'][string], ...shape.sections },
    };
    const environment = {
      ROSETTAMQ_ALL: '1',
      ROSETTAMQ_ANOTHER__PORT: '2',
      ROSETTAMQ_WIRE__PORT: '3',
    };
    const sources = { file: '/dev/null', assignments: [], flags: {} };
    const portsOf = (names: object): unknown[] =>
      Object.values(loadConfig(both, { ...sources, environment: { ...names } }).sections)
        .slice(0, 2)
        .map((section) => (section as { readonly port: number }).port);
    expect(portsOf(environment)).toEqual([2, 3]);
    const early = { ...both, shortcuts: [{ ...both.shortcuts[0]!, flag: 'b' }] };
    const { ROSETTAMQ_ALL, ...rest } = environment;
    expect(
      loadConfig(early, { ...sources, environment: { ROSETTAMQ_B: ROSETTAMQ_ALL, ...rest } }).sections,
    ).toMatchObject({ another: { port: 2 }, wire: { port: 3 } });
  });

  it('of the environment are given once: as they are, or in a file', () => {
    const names = write('names', 'ab');
    const environment = { ROSETTAMQ_WIRE__NAMES: 'cd', ROSETTAMQ_WIRE__NAMES__FILE: names };
    expect(problemsOf({ environment })).toEqual([
      'environment ROSETTAMQ_WIRE__NAMES__FILE: ROSETTAMQ_WIRE__NAMES is set as well; only one of the two can hold',
    ]);
  });

  it('of the environment have short names, and secrets come from files', () => {
    const secret = write('secret', 'k'.repeat(20));
    const environment = {
      ROSETTAMQ_WIRE_PORT: '9',
      ROSETTAMQ_HTTP__API_KEYS__FILE: secret,
      ROSETTAMQ_WIRE__NAMES: 'ab, cd',
    };
    const config = load({ environment });
    expect(config.sections.wire).toMatchObject({ port: 9, names: ['ab', 'cd'] });
    expect(config.host.http.apiKeys).toEqual(['k'.repeat(20)]);
  });

  it('are shown with where each value comes from, without secrets', () => {
    const config = load({ assignments: [`http.apiKeys=${'k'.repeat(20)}`, 'wire.port=5'] });
    const text = printConfig(shape, config, true);
    expect(text).toContain('  port: 5 # --set wire.port\n');
    expect(text).toContain('  idleTimeoutMs: 1000 # default\n');
    expect(text).toContain('  apiKeys: <hidden> # --set http.apiKeys\n');
    expect(text).not.toContain('kkkk');
  });
});

describe('mistakes', () => {
  it.each([
    ['wire:\n  prot: 1\n', 'c.yaml:2: wire.prot is not a setting; did you mean wire.port?'],
    ['wrie:\n  port: 1\n', 'c.yaml:1: wrie is not a setting; did you mean wire?'],
    ['durability: os\n', 'c.yaml:1: durability is not a setting; did you mean storage.durability?'],
    ['wire:\n  zzzzzzzz: 1\n', 'c.yaml:2: wire.zzzzzzzz is not a setting'],
    ['wire:\n\n  port: 70000\n', 'c.yaml:3: wire.port must be at most 65535, not 70000'],
    ['wire:\n  port: "80"\n', 'c.yaml:2: wire.port must be a whole number, not "80"'],
    [
      'wire:\n  idleTimeoutMs: 10s\n',
      'c.yaml:2: wire.idleTimeoutMs must be a whole number, not "10s" (milliseconds)',
    ],
    ['wire:\n  names: [ab, c]\n', 'c.yaml:2: wire.names entry 2 must have at least 2 characters'],
    ['wire:\n  advertised: 5\n', 'c.yaml:2: wire.advertised must be text, not 5, or must be null'],
    ['wire:\n  inner:\n    mode: c\n', 'c.yaml:3: wire.inner.mode must be "a" or "b", not "c"'],
    ['wire: 5\n', 'c.yaml:1: wire is a section and must hold settings'],
    ['wire:\n  port: 1\n  port: 2\n', 'c.yaml:3: Map keys must be unique'],
    ['- wire\n', 'c.yaml:1: the file must hold sections, as config/rosettamq.yaml shows'],
    ['constructor:\n  port: 1\n', 'c.yaml:1: constructor is not a setting'],
  ])('in the file %j', (text, problem) => {
    const problems = problemsOf({ file: write('c.yaml', text) });
    expect(problems.map((one) => one.slice(one.indexOf('c.yaml')))).toEqual([problem]);
  });

  it('are all told at once', () => {
    expect(
      problemsOf({ assignments: ['wire.port=-1', 'wire.x=1'], environment: { ROSETTAMQ_WIRE_PROT: '1' } }),
    ).toEqual([
      'environment variable ROSETTAMQ_WIRE_PROT is not a setting; did you mean ROSETTAMQ_WIRE__PORT?',
      '--set wire.port: wire.port must be at least 0, not -1',
      '--set wire.x: wire.x is not a setting',
    ]);
  });

  it('in a secret do not show it', () => {
    const [problem] = problemsOf({ file: write('c.yaml', 'http:\n  apiKeys: sesame\n') });
    expect(problem).toContain('c.yaml:2: http.apiKeys must be a list');
    expect(problem).not.toContain('sesame');
  });

  it('of a file that is not there name it', () => {
    expect(problemsOf({ file: join(folder, 'none.yaml') })).toEqual([
      expect.stringContaining('none.yaml cannot be read'),
    ]);
  });

  it('leave an empty section and an empty file alone', () => {
    expect(problemsOf({ file: write('c.yaml', '# nothing\n') })).toEqual([]);
    expect(problemsOf({ file: write('d.yaml', 'wire:\n  # port: 5\n') })).toEqual([]);
  });
});

describe('config/rosettamq.yaml', () => {
  const text = readFileSync(new URL('../../../config/rosettamq.yaml', import.meta.url), 'utf8');

  it('is what `npm run config:write` writes', () => {
    expect(text).toBe(printReference(configShape));
  });

  it('holds every setting at its default', () => {
    const file = write('all.yaml', text);
    const none = { environment: {}, assignments: [], flags: {} };
    expect(loadConfig(configShape, { file, ...none }).sections).toEqual(
      loadConfig(configShape, { file: '/dev/null', ...none }).sections,
    );
  });
});
