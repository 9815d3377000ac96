/**
 * Gateways and commands that tests start as processes compile the same sources each time, which takes most of their start.
 * For one run of the tests they share what Node.js compiled (NODE_COMPILE_CACHE), in a folder that goes at the end. Named
 * as `globalSetup` in vitest.config.ts; each of its projects calls it, and the first one's folder is that of all.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export default function shareCompiledSources(): (() => void) | undefined {
  if (process.env.NODE_COMPILE_CACHE !== undefined) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'rosettamq-compiled-'));
  process.env.NODE_COMPILE_CACHE = folder;
  return () => {
    delete process.env.NODE_COMPILE_CACHE;
    rmSync(folder, { recursive: true, force: true });
  };
}
