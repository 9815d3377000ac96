/**
 * Holds the house to its plan: who may import whom, no import cycles, no protocol named in the core, file sizes and
 * names, a folder table in the README that matches the tree, and tests that a configuration really picks up. It reads
 * the sources as text, so it needs nothing but the working tree, and a rule that it breaks is printed with the file.
 */
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, matchesGlob, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { ViteUserConfig } from 'vitest/config';
import unit from '../vitest.config.ts';
import crash from '../vitest.crash.config.ts';
import interop from '../vitest.interop.config.ts';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Paths relative to the root, with `/`. */
function listFiles(...patterns: string[]): string[] {
  const found = globSync(patterns, { cwd: ROOT, exclude: (path) => path.includes('node_modules') });
  return found.map((path) => path.replaceAll('\\', '/')).sort();
}

const readSource = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

const productFiles = listFiles('src/**/*.ts', 'adapters/**/*.ts', 'mappings/**/*.ts');
const testFiles = listFiles('test/**/*.ts');

interface Import {
  readonly from: string;
  /** A path relative to the root for our own files, otherwise the specifier itself. */
  readonly to: string;
  readonly own: boolean;
  readonly specifier: string;
  /** Gone when the program runs: `import type`, `export type`, or braces that hold nothing but types. */
  readonly typeOnly: boolean;
}

// A statement begins at the start of a line, so that words inside strings and comments are not taken for one.
const STATIC_IMPORT = /^(?:import|export)\s+(type\s+)?(?:([\w*{},$\s]*?)\s*from\s*)?['"]([^'"]+)['"]/gm;
const DYNAMIC_IMPORT = /\bimport\(\s*['"]([^'"]+)['"]\s*\)/g;

function listImports(from: string): Import[] {
  const text = readSource(from);
  const toImport = (specifier: string, typeOnly: boolean): Import => {
    const own = specifier.startsWith('.');
    const to = own ? normalize(join(dirname(from), specifier)).replaceAll('\\', '/') : specifier;
    return { from, to, own, specifier, typeOnly };
  };
  const found: Import[] = [];
  for (const [, type, names, specifier] of text.matchAll(STATIC_IMPORT)) {
    const braces = /^\{([^}]*)\}$/.exec((names ?? '').trim())?.[1];
    const parts = braces?.split(',').filter((part) => part.trim() !== '');
    const allTypes = parts?.every((part) => part.trim().startsWith('type ')) ?? false;
    found.push(toImport(specifier!, type !== undefined || allTypes));
  }
  for (const [, specifier] of text.matchAll(DYNAMIC_IMPORT)) found.push(toImport(specifier!, false));
  return found;
}

const imports = productFiles.flatMap(listImports);
const describeImport = (one: Import): string => `${one.from} imports ${one.to}`;

/** The folder that decides what a file may import: `src/net`, `adapters/kafka`, `mappings`, or the file itself. */
function findUnit(path: string): string {
  const parts = path.split('/');
  if (parts[0] === 'mappings') return 'mappings';
  return parts.length > 2 ? `${parts[0]}/${parts[1]}` : path;
}

const CORE_DOOR = 'src/core/index.ts';
const HOST_DOOR = 'src/host.ts';
/** For clients of outside brokers. */
const OUTSIDE_DOOR = 'src/outside.ts';
/** Of the two clients whose folders begin with the same name, and of no others. */
const SHARED_BY_AMQP = 'adapters/bridge-amqp';

function isAllowed(one: Import): boolean {
  const unit = findUnit(one.from);
  // The entry of the process, and the published command that only leads to it.
  if (unit === 'src/main.ts' || unit === 'src/command.ts') return true;
  if (unit === 'src/core')
    return one.own ? one.to.startsWith('src/core/') : /^node:(assert|buffer)$/.test(one.to);
  if (unit === 'mappings') {
    return one.own
      ? one.to === CORE_DOOR || findUnit(one.to) === 'mappings'
      : /^node:(buffer|crypto)$/.test(one.to);
  }
  if (!one.own) return true;
  if (unit.startsWith('adapters/')) {
    const protocol = unit.slice('adapters/'.length).replace(/^bridge-/, '');
    if (one.to === CORE_DOOR || one.to === HOST_DOOR || findUnit(one.to) === unit) return true;
    if (one.to === OUTSIDE_DOOR) return unit.startsWith('adapters/bridge-');
    if (findUnit(one.to) === SHARED_BY_AMQP) return unit.startsWith(SHARED_BY_AMQP);
    return new RegExp(`^mappings/(${protocol}(-[a-z0-9-]+)?|outcome|header-values)\\.ts$`).test(one.to);
  }
  if (/^src\/(storage|net|auth|telemetry)$/.test(unit)) {
    return findUnit(one.to) === unit || one.to.startsWith('src/core/') || one.to === HOST_DOOR;
  }
  // What is left under src is composition: it may use everything there, but knows no protocol.
  return one.to.startsWith('src/') && one.to !== 'src/main.ts';
}

describe('imports', () => {
  it('are all seen by this test', () => {
    // A parser that finds nothing would pass every rule below.
    for (const { path, text } of productFiles.map((path) => ({ path, text: readSource(path) }))) {
      const statements = text.match(/ from '[^']+';$/gm)?.length ?? 0;
      expect(imports.filter((one) => one.from === path).length, path).toBeGreaterThanOrEqual(statements);
    }
  });

  it('go only from the edges to the core', () => {
    expect(imports.filter((one) => !isAllowed(one)).map(describeImport)).toEqual([]);
  });

  it('name an existing file with its extension', () => {
    const broken = [...imports, ...testFiles.flatMap(listImports)].filter(
      (one) => one.own && !(/\.(ts|json)$/.test(one.specifier) && existsSync(join(ROOT, one.to))),
    );
    expect(broken.map(describeImport)).toEqual([]);
  });

  it('of adapters happen in src/main.ts alone', () => {
    const others = imports.filter(
      (one) =>
        one.from.startsWith('src/') && one.from !== 'src/main.ts' && /^(adapters|mappings)\//.test(one.to),
    );
    expect(others.map(describeImport)).toEqual([]);
  });

  it('of libraries are declared as dependencies of the published package', () => {
    const manifest = JSON.parse(readSource('package.json')) as { dependencies: Record<string, string> };
    const declared = new Set(Object.keys(manifest.dependencies));
    const undeclared = imports.filter((one) => {
      const name = one.to.startsWith('@') ? one.to.split('/').slice(0, 2).join('/') : one.to.split('/')[0]!;
      return !one.own && !one.to.startsWith('node:') && !declared.has(name);
    });
    expect(undeclared.map(describeImport)).toEqual([]);
  });

  it('of TypeBox happen in the HTTP API alone: a start that loads it takes half as long again', () => {
    const others = imports.filter(
      (one) => /^typebox($|\/)/.test(one.to) && !one.typeOnly && !one.from.startsWith('src/admin/'),
    );
    expect(others.map(describeImport)).toEqual([]);
  });

  it('form no cycle when the program runs', () => {
    expect(findCycles(imports.filter((one) => one.own && !one.typeOnly))).toEqual([]);
  });

  it('form no cycle between folders, types included', () => {
    const between = imports.filter((one) => one.own && findUnit(one.from) !== findUnit(one.to));
    const folders = between.map((one) => ({ ...one, from: findUnit(one.from), to: findUnit(one.to) }));
    expect(findCycles(folders)).toEqual([]);
  });
});

/** Every cycle that a depth-first walk closes, as readable text. */
function findCycles(edges: readonly { readonly from: string; readonly to: string }[]): string[] {
  const targets = new Map<string, Set<string>>();
  for (const { from, to } of edges) targets.set(from, (targets.get(from) ?? new Set()).add(to));
  const finished = new Set<string>();
  const cycles: string[] = [];
  const walk = (node: string, path: string[]): void => {
    const seenAt = path.indexOf(node);
    if (seenAt >= 0) {
      cycles.push([...path.slice(seenAt), node].join(' → '));
      return;
    }
    if (finished.has(node)) return;
    for (const next of targets.get(node) ?? []) walk(next, [...path, node]);
    finished.add(node);
  };
  for (const node of targets.keys()) walk(node, []);
  return cycles;
}

/** Lines of the files that match, as `path:line: text`. */
function findLines(files: readonly string[], pattern: RegExp): string[] {
  return files.flatMap((path) =>
    readSource(path)
      .split('\n')
      .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
}

describe('layers', () => {
  const coreFiles = productFiles.filter((path) => path.startsWith('src/core/'));
  const hostFiles = productFiles.filter((path) => path.startsWith('src/') && path !== 'src/main.ts');
  const mappingFiles = productFiles.filter((path) => path.startsWith('mappings/'));

  // The interface's comments show one example of a name "as people say it"; what it is an example of needs a name.
  const ALLOWED_NAMES = /^src\/host\.ts:\d+: \/\*\* The protocol's own name/;

  it('of the host name no protocol', () => {
    expect(
      findLines(hostFiles, /mqtt|amqp|kafka|rabbit/i).filter((line) => !ALLOWED_NAMES.test(line)),
    ).toEqual([]);
  });

  it('of the core keep no clock, timer, socket or file', () => {
    const outside =
      /\b(setTimeout|setInterval|setImmediate|Date\.now|performance\.now|new Date|process\.\w|fetch\()/;
    expect(findLines(coreFiles, outside)).toEqual([]);
  });

  it('of mappings are pure: nothing asynchronous, no clock, no chance', () => {
    const impure =
      /\b(async|await|Promise|setTimeout|Date\.now|performance\.now|Math\.random|process\.\w+)\b/;
    const code = (line: string): boolean => !/^\S+ (\*|\/\/|\/\*\*)/.test(line);
    expect(findLines(mappingFiles, impure).filter(code)).toEqual([]);
  });

  it('log through the logger, not the console', () => {
    const commandLine = /^src\/(main|cli)\b/;
    const lines = findLines(productFiles, /\bconsole\.\w+\(/);
    expect(lines.filter((line) => !commandLine.test(line))).toEqual([]);
  });
});

describe('files', () => {
  const countLines = (path: string): number => readSource(path).split('\n').length - 1;
  const isGenerated = (path: string): boolean => /^\/\/ Generated|^\/\*\* Generated/.test(readSource(path));

  it('have at most 500 lines, and nine in ten at most 350', () => {
    for (const files of [productFiles, testFiles]) {
      const sized = files
        .filter((path) => !isGenerated(path))
        .map((path) => ({ path, lines: countLines(path) }));
      expect(sized.filter(({ lines }) => lines > 500)).toEqual([]);
      const long = sized.filter(({ lines }) => lines > 350);
      const share = `${long.length} of ${sized.length} are longer than 350: ${long.map(({ path }) => path).join(' ')}`;
      expect(long.length <= sized.length / 10, share).toBe(true);
    }
  });

  it('have names that say what they hold, in kebab-case', () => {
    const vague = /(^|[/.-])(utils?|helpers?|common|managers?|misc)([/.-]|$)/;
    const all = [...productFiles, ...testFiles];
    expect(all.filter((path) => vague.test(path))).toEqual([]);
    expect(all.filter((path) => !/^[a-z0-9]+([.-][a-z0-9]+)*\.ts$/.test(path.split('/').pop()!))).toEqual([]);
  });

  it('open with a comment that says what they are', () => {
    expect(productFiles.filter((path) => !/^(#!.*\n)?\/(\*\*|\/)/.test(readSource(path)))).toEqual([]);
  });

  it('leave nothing half done behind', () => {
    // Built from pieces, or this line would find itself.
    const unfinished = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`);
    expect(findLines([...productFiles, ...testFiles], unfinished)).toEqual([]);
  });
});

describe('tests', () => {
  const isTest = (path: string): boolean => path.endsWith('.test.ts');
  const patternsOf = ({ test }: ViteUserConfig): string[] => [
    ...(test?.include ?? []),
    ...(test?.projects ?? []).flatMap((one) =>
      typeof one === 'object' && 'test' in one ? patternsOf(one) : [],
    ),
  ];

  it('are each found by at least one command', () => {
    const patterns = [unit, interop, crash].flatMap(patternsOf);
    const orphans = testFiles
      .filter(isTest)
      .filter((path) => !patterns.some((glob) => matchesGlob(path, glob)));
    expect(orphans).toEqual([]);
  });

  it('are named so that they are found', () => {
    const hidden = testFiles.filter(
      (path) => !isTest(path) && /^\s*(it|test|describe)\(/m.test(readSource(path)) && !/contract/.test(path),
    );
    expect(hidden).toEqual([]);
  });

  it('are never left focused', () => {
    expect(findLines(testFiles, /^\s*(it|test|describe)\.only\(/)).toEqual([]);
  });
});

describe('documents', () => {
  const documents = listFiles('*.md', 'docs/**/*.md');

  it('of the README list every folder, and only folders that exist', () => {
    const rows = readSource('README.md').matchAll(/^\| `([\w./-]+)\/` \|/gm);
    const listed = [...rows].map(([, folder]) => folder!).sort();
    const isFolder = (path: string): boolean => statSync(join(ROOT, path)).isDirectory();
    // A folder counts when it holds a file that is the project's own.
    const inside = (pattern: string): string[] =>
      listFiles(pattern).filter((path) => isFolder(path) && listFiles(`${path}/**/*.*`).length > 0);
    const actual = [
      ...inside('{adapters,config,docs,mappings,src,test}'),
      ...inside('{src,adapters,test}/*'),
    ].sort();
    expect(listed).toEqual(actual);
  });

  it('link to files that exist', () => {
    const broken = documents.flatMap((document) =>
      [...readSource(document).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)/g)]
        .map(([, target]) => normalize(join(dirname(document), target!)))
        .filter((target) => !existsSync(join(ROOT, target)))
        .map((target) => `${document} links to ${relative('.', target)}`),
    );
    expect(broken).toEqual([]);
  });
});
