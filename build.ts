/**
 * Compiles the product, without tests, to `dist/`, as the published package carries it. The sources need no build, for
 * Node.js 24 runs them as they are; the compiled form starts in half the time and takes 30 MiB less memory, so
 * `npm start` runs that.
 *
 * `npm run build` checks types too and fails where they are wrong. `node build.ts --when-changed`, before `npm start` and
 * after `npm ci`, only translates, and only when a source is newer than what is there.
 */

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  globSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(fileURLToPath(import.meta.url));
const OUTPUT = join(ROOT, 'dist');
const ENTRY = join(OUTPUT, 'src/main.js');
const SOURCES = ['{src,adapters,mappings}/**/*.ts', 'tsconfig*.json', 'package.json', 'build.ts'];

function isCurrent(): boolean {
  if (!existsSync(ENTRY)) return false;
  const builtMs = statSync(ENTRY).mtimeMs;
  return globSync(SOURCES, { cwd: ROOT }).every((path) => statSync(join(ROOT, path)).mtimeMs <= builtMs);
}

/** Beside the output first, so that nobody ever runs half of it. */
function compile(checksTypes: boolean): boolean {
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  if (!existsSync(compiler)) throw new Error('typescript is not installed: run npm ci');
  const draft = join(ROOT, 'node_modules/.cache', `dist-${process.pid}`);
  mkdirSync(draft, { recursive: true });
  const begunAt = new Date();
  const options = ['-p', join(ROOT, 'tsconfig.build.json'), '--outDir', draft];
  if (!checksTypes) options.push('--noCheck');
  const { status } = spawnSync(process.execPath, [compiler, ...options], { stdio: 'inherit' });
  if (status === 0) {
    // The first line of each makes it a command; the time of main.js says which sources are in it.
    const entry = join(draft, 'src/main.js');
    for (const command of [entry, join(draft, 'src/command.js')]) chmodSync(command, 0o755);
    utimesSync(entry, begunAt, begunAt);
    rmSync(OUTPUT, { recursive: true, force: true });
    renameSync(draft, OUTPUT);
  }
  rmSync(draft, { recursive: true, force: true });
  return status === 0;
}

const onlyWhenChanged = process.argv.includes('--when-changed');
if (!(onlyWhenChanged && isCurrent())) process.exitCode = compile(!onlyWhenChanged) ? 0 : 1;
