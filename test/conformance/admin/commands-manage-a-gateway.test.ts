/** The command line as a process manages a whole gateway over its HTTP API, and nothing else. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { CommandLine, collect } from './command-line.ts';
import { GatewayInProcess } from './gateway-in-process.ts';

const KEY = 'key-of-the-operator-0123456789';
const folder = mkdtempSync(join(tmpdir(), 'rosettamq-cli-'));
const keyFile = join(folder, 'key');
let gateway: GatewayInProcess;
let cli: CommandLine;
const clients: MqttClient[] = [];

beforeAll(async () => {
  writeFileSync(keyFile, `${KEY}\n`);
  gateway = await GatewayInProcess.start([`http.apiKeys=${KEY}`]);
  cli = new CommandLine(gateway.url, { ROSETTAMQ_API_KEY: KEY });
});
afterAll(async () => {
  await gateway.remove();
  rmSync(folder, { recursive: true });
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
});

async function connect(clientId: string, options: mqtt.IClientOptions = {}): Promise<MqttClient> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port('mqtt')}`, {
    clientId,
    protocolVersion: 5,
    reconnectPeriod: 0,
    ...options,
  });
  clients.push(client);
  return client;
}

describe('the key', () => {
  test('comes from the environment or a file, and without one it is told how', async () => {
    const without = new CommandLine(gateway.url);
    const refused = await without.run('sessions', 'list');
    expect(refused).toMatchObject({ code: 1, out: '' });
    expect(refused.err).toMatch(/ROSETTAMQ_API_KEY/);
    expect(await without.run('sessions', 'list', '--api-key-file', keyFile)).toMatchObject({ code: 0 });
    expect(await without.run('sessions', 'list', '--api-key-file', `${keyFile}x`)).toMatchObject({ code: 2 });
  });

  test('is no option of its own, and stands in no help', async () => {
    const { code, err } = await cli.run('sessions', 'list', '--api-key', KEY);
    expect(code).toBe(2);
    expect(err).toMatch(/unknown option/);
  });
});

test('a gateway that is not there is told as such', async () => {
  const { code, err } = await new CommandLine(null).run('sessions', 'list', '--api', 'http://127.0.0.1:1');
  expect(code).toBe(1);
  expect(err).toMatch(/no answer from http:\/\/127\.0\.0\.1:1: .*is the gateway running/);
  expect((await cli.run('sessions', 'list', '--api', 'ftp://x')).code).toBe(2);
});

test('help explains with an example', async () => {
  const [users, add] = await Promise.all([cli.run('users', '--help'), cli.run('acl', 'add', '--help')]);
  expect(users).toMatchObject({ code: 0, out: expect.stringMatching(/who may connect/) });
  expect(add).toMatchObject({ code: 0, out: expect.stringMatching(/Example:\n {2}rosettamq acl add/) });
});

test('output that nobody reads any more is no failure', async () => {
  const child = new CommandLine(null).start('config', 'defaults');
  child.stdout?.destroy();
  const err = collect(child.stderr);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  expect({ code, err: err() }).toEqual({ code: 0, err: '' });
});

test('wrong arguments are told as such', async () => {
  const wrong = [
    ['sessions'],
    ['sessions', 'show'],
    ['sessions', 'list', '-o', 'xml'],
    ['sessions', 'list', '--limit', '0'],
    ['publish', 'a'],
    ['publish', 'a', '-m', 'x', '--lines'],
    ['publish', 'a', '-m', 'x', '--header', 'novalue'],
  ];
  for (const { code, out, err } of await Promise.all(wrong.map((args) => cli.run(...args)))) {
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).not.toMatch(/ {4}at /);
    expect(err).not.toBe('');
  }
});

describe('publish', () => {
  test('sends body, headers and the rest, and waits until it is stored', async () => {
    const client = await connect('reader');
    await client.subscribeAsync('cli/+', { qos: 2 });
    const received: { topic: string; payload: string; packet: mqtt.IPublishPacket }[] = [];
    client.on('message', (topic, payload, packet) =>
      received.push({ topic, payload: payload.toString(), packet }),
    );
    const options = [
      '--retain',
      '--content-type',
      'text/plain',
      '--reply-to',
      'answers',
      '--correlation',
      'c7',
    ];
    const headers = ['--header', 'unit=C', '--header', 'eq=a=b', '--expiry-ms', '60000', '-r', '2'];
    expect(await cli.run('publish', 'cli/1', '-m', '22.5', ...options, ...headers)).toEqual({
      code: 0,
      out: '',
      err: '',
    });
    await expect.poll(() => received.length).toBe(1);
    expect(received[0]).toMatchObject({
      topic: 'cli/1',
      payload: '22.5',
      packet: {
        qos: 2,
        properties: {
          contentType: 'text/plain',
          responseTopic: 'answers',
          correlationData: Buffer.from('c7'),
          userProperties: { unit: 'C', eq: 'a=b' },
        },
      },
    });
    const binary = join(folder, 'binary');
    writeFileSync(binary, Buffer.from([0xff, 0x00, 0x0a]));
    expect((await cli.run('publish', 'cli/2', '--file', binary)).code).toBe(0);
    expect((await cli.runWith('one\ntwo\n', 'publish', 'cli/3', '--lines')).code).toBe(0);
    expect((await cli.runWith('all\nof it\n', 'publish', 'cli/4', '-f', '-')).code).toBe(0);
    await expect.poll(() => received.length).toBe(5);
    expect(received.slice(2).map(({ payload }) => payload)).toEqual(['one', 'two', 'all\nof it\n']);
    expect((await cli.run('retained', 'get', 'cli/1')).out).toBe('22.5');
  });

  test('tells that nobody wanted it, and what the gateway refuses', async () => {
    const lonely = await cli.run('publish', 'nobody/at/all', '-m', 'x');
    expect(lonely).toMatchObject({ code: 0, err: expect.stringMatching(/nobody and nothing/) });
    const wrong = await cli.run('publish', 'a/#', '-m', 'x');
    expect(wrong).toMatchObject({ code: 1, err: expect.stringMatching(/without \+ and #/) });
  });
});

describe('subscribe', () => {
  test('prints as many as asked for, what is retained first', async () => {
    await cli.run('publish', 'news/1', '-m', 'old', '--retain');
    const child = cli.start('subscribe', 'news/#', '--count', '3');
    const out = collect(child.stdout);
    const ended = new Promise((resolve) => child.once('close', resolve));
    await expect.poll(out, { timeout: 5_000 }).toContain('old');
    const client = await connect('writer');
    await client.publishAsync('news/2', 'a\u001b[2Jb', { qos: 1 });
    await client.publishAsync('news/3', Buffer.from([0xff]), { qos: 1 });
    expect(await ended).toBe(0);
    expect(out()).toBe('news/1 old\nnews/2 a\\u001b[2Jb\nnews/3 (1 bytes)\n');
  });

  test('as JSON is a line each, and a signal ends it without a word', async () => {
    const child = cli.start('subscribe', 'lines/+', '--no-retained', '-o', 'json');
    const out = collect(child.stdout);
    const err = collect(child.stderr);
    const ended = new Promise((resolve) => child.once('close', resolve));
    const sessions = async (): Promise<number> =>
      JSON.parse((await cli.run('sessions', 'list', '-o', 'json')).out).length;
    await expect.poll(sessions, { timeout: 10_000 }).toBe(1);
    const client = await connect('writer');
    await client.publishAsync('lines/1', 'x\ny', { qos: 1 });
    await expect.poll(out).toContain('\n');
    expect(JSON.parse(out())).toMatchObject({ address: 'lines/1', body: 'x\ny', reliability: 1 });
    child.kill('SIGINT');
    expect(await ended).toBe(0);
    expect(err()).toBe('');
  });
});

test('sessions are listed, shown and ended', async () => {
  const client = await connect('shown', { clean: false, properties: { sessionExpiryInterval: 600 } });
  await client.subscribeAsync('shown/#', { qos: 1 });
  const gone = new Promise<void>((resolve) => client.once('close', () => resolve()));
  const list = await cli.run('sessions', 'list');
  expect(list.out).toMatch(
    /^ID +CONNECTED +DURABLE +WAITING +UNSETTLED +SUBSCRIPTIONS\nshown +yes +yes +0 +0 +1\n$/,
  );
  const shown = await cli.run('sessions', 'show', 'shown');
  expect(shown.out).toMatch(/SUBSCRIPTION +RELIABILITY\nshown\/# +1\n/);
  expect(JSON.parse((await cli.run('sessions', 'show', 'shown', '-o', 'json')).out)).toMatchObject({
    id: 'shown',
  });
  expect(await cli.run('sessions', 'end', 'shown')).toEqual({ code: 0, out: '', err: '' });
  await gone;
  const missing = await cli.run('sessions', 'show', 'shown');
  expect(missing).toMatchObject({ code: 3, out: '', err: 'rosettamq: name: there is no session shown\n' });
});

test('what is retained is listed by filter, got and removed', async () => {
  for (const n of [1, 2, 3]) await cli.run('publish', `slot/${n}/x y`, '-m', `body ${n}`, '--retain');
  const list = await cli.run('retained', 'list', 'slot/+/#', '--limit', '2');
  expect(list.out.trimEnd().split('\n')).toHaveLength(3);
  expect(list.out).toMatch(/slot\/1\/x y +\d{4}-\d\d-\d\dT\S+Z +body 1\n/);
  expect(list.err).toMatch(/only the first 2/);
  expect((await cli.run('retained', 'get', 'slot/2/x y')).out).toBe('body 2');
  expect((await cli.run('retained', 'remove', 'slot/2/x y')).code).toBe(0);
  expect((await cli.run('retained', 'get', 'slot/2/x y')).code).toBe(3);
  expect((await cli.run('retained', 'remove', 'slot/2/x y')).code).toBe(3);
});

test('rules are added, tested, applied and removed', async () => {
  const own = await GatewayInProcess.start(['auth.acl.default=allow']);
  const here = new CommandLine(own.url);
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${own.port('mqtt')}`, {
    clientId: 'c1',
    username: 'ann',
    password: 'x',
    protocolVersion: 5,
    reconnectPeriod: 0,
  });
  try {
    await client.publishAsync('secret/1', 'x', { qos: 1 });
    const add = await here.run('acl', 'add', 'no-secrets', 'deny', 'write', 'secret/#', '--user', 'ann');
    expect(add).toEqual({ code: 0, out: '', err: '' });
    await expect(client.publishAsync('secret/1', 'x', { qos: 1 })).rejects.toMatchObject({ code: 0x87 });
    const list = await here.run('acl', 'list');
    expect(list.out).toMatch(
      /^NAME +EFFECT +WHO +ACTIONS +PATTERN\nno-secrets +deny +user ann +write +secret\/#\n$/,
    );
    const denied = await here.run('acl', 'test', 'write', 'secret/1', '--user', 'ann');
    expect(denied).toMatchObject({ code: 3, out: 'denied\n' });
    const allowed = await here.run('acl', 'test', 'write', 'secret/1', '--user', 'bob', '-o', 'json');
    expect(allowed).toMatchObject({ code: 0, out: '{\n  "allowed": true\n}\n' });
    const wrong = await here.run('acl', 'add', 'wrong', 'deny', 'write', 'a/#/b');
    expect(wrong).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^rosettamq: pattern: '#' is not at the end/),
    });
    expect((await here.run('acl', 'remove', 'no-secrets')).code).toBe(0);
    expect((await here.run('acl', 'remove', 'no-secrets')).code).toBe(3);
    await client.publishAsync('secret/1', 'x', { qos: 1 });
  } finally {
    await client.endAsync(true);
    await own.remove();
  }
});
