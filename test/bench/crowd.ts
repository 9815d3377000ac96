/**
 * Opens idle MQTT connections and holds them until its standard input ends: what a connected client costs in memory is
 * then read from outside. Arguments: port, count. Prints `open` when all are connected.
 */
import { MqttClient } from './mqtt-client.ts';

const port = Number(process.argv[2]);
const count = Number(process.argv[3]);
const AT_ONCE = 64;

let opened = 0;
const openOne = async (): Promise<void> => {
  while (opened < count) {
    const client = new MqttClient(port, null);
    await client.connect(`idle-${opened++}`);
  }
};
await Promise.all(Array.from({ length: AT_ONCE }, openOne));
process.stdout.write('open\n');
process.stdin.on('end', () => process.exit(0)).resume();
