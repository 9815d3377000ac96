/**
 * Schemathesis makes requests of all kinds from /openapi.json, right and wrong ones, and holds every answer against the
 * description: no fault of the gateway, no status, media type, header or shape that is not described, 405 with `Allow` for
 * every other method. Operations are left out for nothing; examples and seed are bounded, so that it ends in time.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { locatePeer } from '../peers/programs.ts';
import { type Gateway, startGateway } from './gateway.ts';
import { describeWith } from './programs.ts';

const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_headers_conformance',
  'response_schema_conformance',
  'unsupported_method',
  'allow_header_conformance',
];
const EXAMPLES_MAX = 15;
const TIME_MS_MAX = 240_000;

describeWith(['schemathesis'], 'the HTTP API', () => {
  const folder = mkdtempSync(join(tmpdir(), 'schemathesis-'));
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway({
      env: { ROSETTAMQ_STORAGE__DURABILITY: 'os', ROSETTAMQ_LOG__LEVEL: 'error' },
    });
  });
  afterAll(async () => {
    await gateway?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it(
    'answers as its description says, whatever it is asked',
    async () => {
      const described = `http://127.0.0.1:${gateway.ports.http}/openapi.json`;
      const options = [
        ...['--checks', CHECKS.join(',')],
        ...['--phases', 'examples,coverage,fuzzing'],
        ...['--max-examples', String(EXAMPLES_MAX), '--seed', '1', '--continue-on-failure'],
        // A subscriber's answer goes on for ever.
        ...['--request-timeout', '1', '--warnings', 'off', '--no-color'],
      ];
      const report = await new Promise<{ readonly failed: boolean; readonly text: string }>((resolve) => {
        execFile(
          locatePeer('schemathesis'),
          ['run', described, ...options],
          { cwd: folder, timeout: TIME_MS_MAX, maxBuffer: 64 * 1024 * 1024 },
          (error, stdout, stderr) => resolve({ failed: error !== null, text: stdout + stderr }),
        );
      });
      if (report.failed) throw new Error(report.text);
      expect(report.text).toMatch(/Tested: \d+/);
    },
    TIME_MS_MAX + 10_000,
  );
});
