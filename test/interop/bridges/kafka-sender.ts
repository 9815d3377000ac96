/**
 * A process that sends exactly once, for a test that ends it: `node kafka-sender.ts BROKER TOPIC COUNT`. Message number n is the
 * same each time, as out of a buffer on disk; where it goes on is what the outside broker says, never what this process
 * remembers. Prints the number of messages that are sent after each batch, and ends when there are no more.
 */
import { message, openLink } from './kafka-links.ts';

const KEYS = 20;
const BATCH = 250;

const [broker, topic, countText] = process.argv.slice(2) as [string, string, string];
const count = Number(countText);

for (let next = 0; next < count; ) {
  try {
    const { link } = await openLink({ brokers: [broker], delivery: 'exactly-once', name: `to-${topic}` });
    next = (link.sentOffset ?? -1) + 1;
    while (next < count) {
      const batch = Array.from({ length: Math.min(BATCH, count - next) }, (_, index) => ({
        offset: next + index,
        message: message(topic, String(next + index), { key: Buffer.from(`key-${(next + index) % KEYS}`) }),
      }));
      const answers = await link.send(batch);
      const refused = answers.findIndex((answer) => answer !== null);
      if (refused >= 0) throw new Error(`refused: ${JSON.stringify(answers[refused])}`);
      next += batch.length;
      process.stdout.write(`${next}\n`);
    }
    await link.close();
  } catch (error) {
    process.stderr.write(`${error}\n`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
