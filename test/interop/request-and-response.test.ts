/**
 * Runs the examples of docs/request-response.md as they stand there: pika, mqtt.js and the Mosquitto clients ask and
 * answer each other. Only ports and places of files are ours.
 */
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { locatePeer } from '../peers/programs.ts';
import { type Gateway, startGateway } from './gateway.ts';
import { describeWith, run, start, waitFor } from './programs.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const DOCUMENT = readFileSync(join(ROOT, 'docs/request-response.md'), 'utf8');

describeWith(['mosquitto-clients', 'python'], 'the examples of docs/request-response.md', () => {
  const folder = mkdtempSync(join(tmpdir(), 'requests-'));
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    for (const [, text] of DOCUMENT.matchAll(/^```(?:python|js)\n([\s\S]*?)^```$/gm)) {
      const name = /^(?:#|\/\/) (\S+)\n/.exec(text!)?.[1] as string;
      writeFileSync(join(folder, name), toOurPorts(text!));
    }
  });
  afterAll(async () => {
    await gateway?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const toOurPorts = (text: string): string =>
    text
      .replaceAll(
        "ConnectionParameters('localhost')",
        `ConnectionParameters('localhost', ${gateway.ports.amqp})`,
      )
      .replaceAll('mqtt://localhost', `mqtt://127.0.0.1:${gateway.ports.mqtt}`)
      .replaceAll('mosquitto_rr', `mosquitto_rr -p ${gateway.ports.mqtt}`)
      .replaceAll(/\bpython (\S+\.py)/g, `${locatePeer('python')} ${folder}/$1`)
      .replaceAll(/\bnode (\S+\.mjs)/g, `${process.execPath} ${folder}/$1`);

  /** A block of two commands, the first of which goes on, and one line of output. */
  function readExample(part: string): { server: string; client: string; output: string } {
    const blocks = [...DOCUMENT.matchAll(/^```console\n([\s\S]*?)^```$/gm)].map((match) => match[1]!);
    const block = blocks.find((text) => text.includes(part))!;
    const [server, client, output] = block.trimEnd().split('\n') as [string, string, string];
    const command = (line: string): string => toOurPorts(line.replace(/^\$ /, '').replace(/ &$/, ''));
    return { server: command(server), client: command(client), output };
  }

  async function whenReached(address: string): Promise<void> {
    await waitFor(`somebody at ${address}`, async () => {
      const url = `http://127.0.0.1:${gateway.ports.http}/v1/explain?address=${encodeURIComponent(address)}`;
      const { destinations } = (await (await fetch(url)).json()) as { destinations: unknown[] };
      return destinations.length > 0;
    });
  }

  it('the Mosquitto client asks the AMQP server of RabbitMQ’s tutorial', async () => {
    const { server, client, output } = readExample('rpc_server.py');
    start(server);
    await whenReached('$queue/rpc_queue');
    expect(await run(client)).toEqual([output]);
  });

  it('pika asks an mqtt.js client by direct reply-to', async () => {
    const { server, client, output } = readExample('rpc_client.py');
    start(server);
    await whenReached('devices/7/ask');
    expect(await run(client)).toEqual([output]);
  });

  it('pika gets its answer in a queue of its own, and the AMQP server reads bytes that are no text', async () => {
    const { server } = readExample('rpc_client.py');
    start(server);
    await whenReached('devices/7/ask');
    const own = readFileSync(join(folder, 'rpc_client.py'), 'utf8')
      .replace("basic_consume('amq.rabbitmq.reply-to'", 'basic_consume(queue')
      .replace("reply_to='amq.rabbitmq.reply-to'", 'reply_to=queue')
      .replace(
        'def on_answer',
        "queue = channel.queue_declare('', exclusive=True).method.queue\n\ndef on_answer",
      );
    writeFileSync(join(folder, 'own_queue.py'), own);
    expect(await run(toOurPorts('python own_queue.py'))).toEqual(['call-8 pump is fine']);
    start(readExample('rpc_server.py').server);
    await whenReached('$queue/rpc_queue');
    const { connectAsync } = await import('mqtt');
    const client = await connectAsync(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, { protocolVersion: 5 });
    const answers: [body: string, correlation: string | undefined][] = [];
    client.on('message', (_topic, body, { properties }) =>
      answers.push([`${body}`, properties?.correlationData?.toString('hex')]),
    );
    await client.subscribeAsync('clients/bytes/answers');
    await client.publishAsync('$queue/rpc_queue', '10', {
      qos: 1,
      properties: { responseTopic: 'clients/bytes/answers', correlationData: Buffer.from([0, 255, 128]) },
    });
    await waitFor('the answer', () => answers.length > 0);
    expect(answers).toEqual([['55', '00ff80']]);
    await client.endAsync();
  });
});
