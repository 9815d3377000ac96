/**
 * Runs the examples of the README as they stand there and compares what they print with what the README says. Only
 * ports and places of files are ours. Lines that begin with `$` are commands, the others of their block are output;
 * what several clients print at once may come in another order. A Python block is the file that its first line names.
 * The README's first block, which installs and starts, is run by `fresh-clone.test.ts`.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { locatePeer } from '../peers/programs.ts';
import { pickPort } from '../support/ports.ts';
import { type Gateway, startGateway } from './gateway.ts';
import { describeWith, Program, run, start, subscribe, waitFor } from './programs.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const PEERS = ['mosquitto-clients', 'mosquitto', 'kcat', 'python', 'curl', 'openssl'] as const;

interface Block {
  readonly language: string;
  readonly text: string;
}

function readBlocks(document: string): Block[] {
  const text = readFileSync(join(ROOT, document), 'utf8');
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map((match) => ({
    language: match[1]!,
    text: match[2]!,
  }));
}

/** A command goes on in the next line after a backslash and while a quotation mark is open. */
function splitConsole(text: string): { commands: string[]; output: string[] } {
  const commands: string[] = [];
  const output: string[] = [];
  let open = false;
  for (const line of text.trimEnd().split('\n')) {
    if (line.startsWith('$ ')) commands.push(line.slice(2));
    else if (open) commands.push(`${commands.pop()}\n${line}`);
    else output.push(line);
    const command = commands.at(-1) ?? '';
    open = command.endsWith('\\') || (command.match(/(?<!\\)"/g)?.length ?? 0) % 2 === 1;
  }
  return { commands, output };
}

describeWith(PEERS, 'the examples of the README', () => {
  const folder = mkdtempSync(join(tmpdir(), 'readme-'));
  const blocks = readBlocks('README.md');
  let gateway: Gateway;
  let securedPort = 0;
  let outsidePort = 0;

  const find = (part: string, language = 'console'): Block => {
    const found = blocks.filter((block) => block.language === language && block.text.includes(part));
    expect(found.length, `blocks of the README with ${part}`).toBe(1);
    return found[0]!;
  };

  beforeAll(async () => {
    const secure = readBlocks('docs/operations.md').find(({ text }) => text.startsWith('openssl req'))!;
    execFileSync('bash', ['-c', secure.text], { cwd: folder, stdio: 'pipe' });
    const config = join(folder, 'rosettamq.yaml');
    writeFileSync(config, placeFiles(find('certificates:', 'yaml').text));
    securedPort = await pickPort();
    outsidePort = await pickPort();
    const env: Record<string, string> = {
      ROSETTAMQ_CONFIG: config,
      ROSETTAMQ_MQTT__TLS__PORT: String(securedPort),
    };
    for (const section of ['MQTT__WEBSOCKET', 'AMQP091', 'KAFKA'])
      env[`ROSETTAMQ_${section}__TLS__PORT`] = String(await pickPort());
    gateway = await startGateway({ env });
    for (const { language, text } of blocks) {
      const name = language === 'python' ? /^# (\S+\.py)\n/.exec(text)?.[1] : undefined;
      if (name !== undefined) writeFileSync(join(folder, name), toOurPorts(text));
    }
  });
  afterAll(async () => {
    await gateway?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const placeFiles = (text: string): string => text.replaceAll(/\b(server\.(?:pem|key))/g, `${folder}/$1`);

  const toOurPorts = (text: string): string =>
    placeFiles(text)
      .replaceAll(
        "ConnectionParameters('localhost')",
        `ConnectionParameters('localhost', ${gateway.ports.amqp})`,
      )
      .replaceAll(/mosquitto_(?:sub|pub)(?! -p)/g, `stdbuf -oL $& -p ${gateway.ports.mqtt}`)
      .replaceAll('-p 8883', `-p ${securedPort}`)
      .replaceAll('mosquitto_sub -p 1884', `stdbuf -oL mosquitto_sub -p ${outsidePort}`)
      .replaceAll('mosquitto -p 1884', `${locatePeer('mosquitto')} -p ${outsidePort}`)
      .replaceAll('localhost:1884', `localhost:${outsidePort}`)
      .replaceAll('-b localhost', `-b localhost:${gateway.ports.kafka}`)
      .replaceAll('localhost:8080', `127.0.0.1:${gateway.ports.http}`)
      .replaceAll(/\bpython (\S+\.py)/g, `${locatePeer('python')} ${folder}/$1`)
      .replaceAll(/\bpython -c/g, `${locatePeer('python')} -c`)
      .replaceAll('npx rosettamq', `ROSETTAMQ_API=http://127.0.0.1:${gateway.ports.http} npx rosettamq`);

  /** Runs a block's commands in one shell; what it starts with `&` has a moment to connect. */
  async function runBlock({ text }: Block): Promise<void> {
    const { commands, output } = splitConsole(text);
    const lines = commands.map(
      (command) => `${toOurPorts(command)}${command.endsWith('&') ? '\nsleep 2' : ''}`,
    );
    // With that variable Python writes a line in pieces, and another program's line could come in between.
    const begin = `unset PYTHONUNBUFFERED; cd '${ROOT}'; exec 2>&1`;
    const program = new Program(`${begin}\n${lines.join('\n')}\necho the end`, '');
    onTestFinished(() => program.stop());
    const printed = (): string[] => program.lines.filter((line) => !line.startsWith('npm warn'));
    await waitFor(
      'the end',
      () => printed().length > output.length && printed().includes('the end'),
      20_000,
    ).catch(
      () => {}, // the comparison says more
    );
    expect(printed().sort()).toEqual([...output, 'the end'].sort());
  }

  it('three protocols, one message', async () => {
    const [subscriber, consumer, reader] = [
      start(toOurPorts(splitConsole(find("mosquitto_sub -t 'orders/#'").text).commands[0]!)),
      start(toOurPorts('python consumer.py')),
      start(toOurPorts(splitConsole(find('kcat -C -b localhost -t orders.eu.new').text).commands[0]!)),
    ];
    const explain = `http://127.0.0.1:${gateway.ports.http}/v1/explain?address=orders/eu/new`;
    await waitFor('all three', async () => {
      const { destinations } = (await (await fetch(explain)).json()) as { destinations: { kind: string }[] };
      return ['queue', 'session', 'stream'].every((kind) => destinations.some((one) => one.kind === kind));
    });
    for (const command of splitConsole(find('kcat -P -b localhost -t orders').text).commands)
      await run(toOurPorts(command));
    const expected = find('orders.eu.new [0] at 0').text.trimEnd().split('\n\n');
    for (const [index, program] of [subscriber!, consumer!, reader!].entries())
      expect(await program.waitForLines(3)).toEqual(expected[index]!.split('\n'));
  });

  it('a mapping rule', () => runBlock(find('/v1/mappings/telemetry')));
  it('what clients make of the mapping rule', () => runBlock(find('-t devices/d7/telemetry')));
  it('a shared subscription', () => runBlock(find('$share/')));
  it('workers of two protocols in one group', () => runBlock(find('python worker.py')));
  it('a stream, a delayed message, the gateway about itself', () => runBlock(find('$delayed/')));

  it('a bridge to another broker', () => runBlock(find('mosquitto -p 1884')));
  it('what a bridge is asked, and how it is undone', () => runBlock(find('hall-out:pause')));

  it('TLS by one entry in the settings', async () => {
    const subscriber = await subscribe(gateway.ports.mqtt, "-t 'orders/#' -v");
    await runBlock(find('--cafile'));
    await subscriber.waitForLine('orders/eu/new {"order": 4714}');
  });

  it('a user and a rule', () => runBlock(find('users add')));
});
