/**
 * A crowd of MQTT clients that say nothing: so many stay connected, and so many come and go, each once a second. It stands
 * until standard input ends. Arguments: port, idle clients, restless clients. Prints `open` when all idle ones are
 * connected and every restless one has been there once.
 */
import { MqttClient } from './mqtt-client.ts';

const [port, idle, restless] = process.argv.slice(2).map(Number) as [number, number, number];
const AT_ONCE = 64;
const ROUND_MS = 1000;

let opened = 0;
const openIdle = async (): Promise<void> => {
  while (opened < idle) await new MqttClient(port, null).connect(`idle-${opened++}`);
};

/** Comes, is accepted and goes. */
async function visit(index: number): Promise<void> {
  const client = new MqttClient(port, null);
  await client.connect(`restless-${index}`);
  client.disconnect();
}

/** Spread over the second, so that they do not all come at once. */
function comeAndGo(index: number): void {
  const again = async (): Promise<void> => {
    const begin = performance.now();
    await visit(index);
    setTimeout(again, Math.max(0, ROUND_MS - (performance.now() - begin)));
  };
  setTimeout(again, (ROUND_MS * index) / restless);
}

await Promise.all(Array.from({ length: AT_ONCE }, openIdle));
for (let index = 0; index < restless; index++) await visit(index);
for (let index = 0; index < restless; index++) comeAndGo(index);
process.stdout.write('open\n');
process.stdin.on('end', () => process.exit(0)).resume();
