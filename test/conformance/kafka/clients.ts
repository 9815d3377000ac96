/** Kafka clients for the conformance tests, quiet and quick to give up, and ways to wait for what they see. */

import { Kafka, logLevel } from 'kafkajs';

export function kafkajsOn(port: number, clientId = 'conformance'): Kafka {
  return new Kafka({
    clientId,
    brokers: [`127.0.0.1:${port}`],
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 50, retries: 5 },
  });
}

/** Resolves when `holds` does; rejects with `what` after a while. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  waitMs = 10_000,
): Promise<void> {
  const end = Date.now() + waitMs;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

let names = 0;

/** A topic or group of this test alone. */
export function fresh(prefix: string): string {
  return `${prefix}.${process.pid}.${names++}`;
}
