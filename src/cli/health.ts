/**
 * `rosettamq health`: asks a running gateway whether it lives, has started or is ready, for probes that can only run a
 * command, as where the HTTP API listens on loopback alone. Exit code 0 is yes; otherwise what fails is told.
 */

import { get } from 'node:http';
import { API_DEFAULT } from './api-client.ts';
import { EXIT_NO, Failure } from './failure.ts';

export type HealthQuestion = 'live' | 'ready' | 'startup';

const PATHS: Readonly<Record<HealthQuestion, string>> = {
  live: '/livez',
  ready: '/readyz',
  startup: '/startupz',
};
const ANSWER_BYTES_MAX = 65_536;

export async function askHealth(
  question: HealthQuestion,
  flags: { readonly api?: string; readonly timeoutMs: number },
): Promise<void> {
  const base = flags.api ?? process.env.ROSETTAMQ_API ?? API_DEFAULT;
  const url = new URL(PATHS[question], base);
  const { status, text } = await read(url, flags.timeoutMs);
  if (status === 200) {
    console.log('ok');
    return;
  }
  let failing: readonly string[] = [];
  try {
    failing = (JSON.parse(text) as { readonly failing?: readonly string[] }).failing ?? [];
  } catch {
    // Some other server listens there.
  }
  throw new Failure(
    failing.length > 0 ? `failing: ${failing.join(', ')}` : `${url} answers ${status}`,
    EXIT_NO,
  );
}

function read(url: URL, timeoutMs: number): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const fail = (error: Error): void =>
      reject(
        new Failure(signal.aborted ? `no answer from ${url} in ${timeoutMs} ms` : `${url}: ${error.message}`),
      );
    const request = get(url, { signal }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > ANSWER_BYTES_MAX) response.destroy(new Error('the answer is too long'));
      });
      response.on('error', fail);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.on('error', fail);
  });
}
