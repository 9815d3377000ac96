/** Messages published and subscribed over HTTP meet those of real clients; what is retained and sessions can go. */

import { get, type IncomingMessage } from 'node:http';
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { GatewayInProcess } from './gateway-in-process.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are compared whole, whatever they are
type Json = any;

let gateway: GatewayInProcess;
const clients: MqttClient[] = [];
beforeAll(async () => {
  gateway = await GatewayInProcess.start(['http.subscribersMax=2']);
});
afterAll(() => gateway.remove());
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
});

async function connect(clientId: string, options: IClientOptions = {}): Promise<MqttClient> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port('mqtt')}`, {
    clientId,
    protocolVersion: 5,
    reconnectPeriod: 0,
    ...options,
  });
  clients.push(client);
  return client;
}

async function call(method: string, path: string, body?: unknown): Promise<{ status: number; body: Json }> {
  const response = await fetch(gateway.url + path, {
    method,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : JSON.parse(text) };
}

/** Reads server-sent events until the answer ends or `stop` is called. */
class Feed {
  readonly messages: Json[] = [];
  readonly #abort = new AbortController();
  #ended: Promise<void> = Promise.resolve();
  #told: () => void = () => {};

  static async open(path: string): Promise<Feed> {
    const feed = new Feed();
    const response = await fetch(gateway.url + path, { signal: feed.#abort.signal });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    feed.#ended = feed.#read(response);
    return feed;
  }

  async #read(response: Response): Promise<void> {
    let text = '';
    const decoder = new TextDecoder();
    try {
      for await (const chunk of response.body ?? []) {
        text += decoder.decode(chunk, { stream: true });
        const events = text.split('\n\n');
        text = events.pop() as string;
        for (const event of events) {
          if (event.startsWith('data: ')) this.messages.push(JSON.parse(event.slice(6)));
        }
        this.#told();
      }
    } catch {
      // Stopped by the test.
    }
  }

  async until(count: number): Promise<Json[]> {
    while (this.messages.length < count) {
      await new Promise<void>((resolve) => {
        this.#told = resolve;
      });
    }
    return this.messages;
  }

  ended(): Promise<void> {
    return this.#ended;
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }
}

async function dropped(): Promise<number> {
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text();
  return Number(/^rosettamq_messages_dropped_total (\d+)$/m.exec(metrics)?.[1]);
}

describe('publish', () => {
  test('reaches subscribers with its properties, and says when nobody is there', async () => {
    const client = await connect('receiver');
    await client.subscribeAsync('rooms/+/light', { qos: 2 });
    const received = new Promise<{ payload: Buffer; packet: IPublishPacket }>((resolve) => {
      client.once('message', (_topic, payload, packet) => resolve({ payload, packet }));
    });
    const answer = await call('POST', '/v1/messages/rooms/r%C3%A9/light', {
      body: 'on',
      reliability: 2,
      expiryMs: 60_000,
      properties: { contentType: 'text/plain', correlation: 'c1', replyTo: 'answers/1' },
      headers: [
        { name: 'a', value: '1' },
        { name: 'a', value: '2' },
      ],
    });
    expect(answer).toEqual({ status: 200, body: { address: 'rooms/ré/light', routed: true } });
    const { payload, packet } = await received;
    expect(payload.toString()).toBe('on');
    expect(packet).toMatchObject({
      topic: 'rooms/ré/light',
      qos: 2,
      properties: {
        contentType: 'text/plain',
        correlationData: Buffer.from('c1'),
        responseTopic: 'answers/1',
        messageExpiryInterval: 60,
        userProperties: { a: ['1', '2'] },
      },
    });
    expect((await call('POST', '/v1/messages/nobody/here', { body: '' })).body).toEqual({
      address: 'nobody/here',
      routed: false,
    });
  });

  test('is stored when it is answered', async () => {
    const client = await connect('away', { clean: false, properties: { sessionExpiryInterval: 600 } });
    await client.subscribeAsync('away/#', { qos: 1 });
    await client.endAsync();
    expect((await call('POST', '/v1/messages/away/x', { bodyBase64: 'AP8=' })).body).toMatchObject({
      routed: true,
    });
    await gateway.stop();
    await gateway.start(['http.subscribersMax=2']);
    expect((await call('GET', '/v1/sessions/away')).body).toMatchObject({ queuedCount: 1, attached: false });
    await call('DELETE', '/v1/sessions/away');
  });

  test.each([
    ['/v1/messages/a/+', {}, 'path', '/address'],
    ['/v1/messages/%23', {}, 'path', '/address'],
    ['/v1/messages/$share/g/a', {}, 'path', '/address'],
    ['/v1/messages/$SYS/x', {}, 'path', '/address'],
    ['/v1/messages/$delayed/5/x', {}, 'path', '/address'],
    ['/v1/messages/$queue/orders/$ack', {}, 'path', '/address'],
    ['/v1/messages/a', { bodyBase64: '!' }, 'body', '/bodyBase64'],
    ['/v1/messages/a', { reliability: 3 }, 'body', '/reliability'],
    ['/v1/messages/a', { qos: 1 }, 'body', '/qos'],
    ['/v1/messages/a', { properties: { contentType: 1 } }, 'body', '/properties/contentType'],
    [`/v1/messages/${'a/'.repeat(200)}a`, {}, 'path', '/address'],
  ])('number %# that cannot be is refused', async (path, body, place, pointer) => {
    const answer = await call('POST', path, body);
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({ code: 'invalid-request', in: place, pointer });
  });

  test('to a queue that is not there makes it, as it does for clients', async () => {
    const answer = await call('POST', '/v1/messages/$queue/from-http', { body: '1' });
    expect(answer.body).toEqual({ address: '$queue/from-http', routed: true });
    expect((await call('GET', '/v1/queues/from-http')).body).toMatchObject({ readyCount: 1, durable: true });
  });

  test('of what is no message at all says what the path takes', async () => {
    expect((await call('POST', '/v1/messages/', {})).body).toMatchObject({ pointer: '/address' });
    expect((await call('PUT', '/v1/messages/a', {})).body).toMatchObject({ code: 'method-not-allowed' });
  });
});

describe('subscribe', () => {
  test('gets what clients publish, as it was said', async () => {
    const feed = await Feed.open('/v1/messages/plant/+/state');
    const client = await connect('plant');
    await client.publishAsync('plant/1/state', 'running', {
      qos: 1,
      properties: { contentType: 'text/plain', userProperties: { n: '7' } },
    });
    await client.publishAsync('plant/2/other', 'no', { qos: 1 });
    await client.publishAsync('plant/2/state', Buffer.from([0xff]), { qos: 0 });
    const [first, second] = await feed.until(2);
    expect(first).toMatchObject({
      address: 'plant/1/state',
      body: 'running',
      reliability: 1,
      retain: false,
      properties: { contentType: 'text/plain' },
      headers: [{ name: 'n', value: '7' }],
    });
    expect(second).toMatchObject({ address: 'plant/2/state', bodyBase64: '/w==', reliability: 0 });
    await feed.stop();
  });

  test('begins with what is retained, unless told not to, and ends after the count', async () => {
    for (const n of [1, 2, 3]) {
      await call('POST', `/v1/messages/kept/${n}`, { body: `${n}`, retain: true });
    }
    const feed = await Feed.open('/v1/messages/kept/%23?count=3');
    await feed.ended();
    expect(feed.messages.map(({ body }) => body).sort()).toEqual(['1', '2', '3']);
    expect(feed.messages.every(({ retained }) => retained === true)).toBe(true);
    const without = await Feed.open('/v1/messages/kept/%23?count=1&retained=false');
    await call('POST', '/v1/messages/kept/4', { body: 'new' });
    await without.ended();
    expect(without.messages).toMatchObject([{ body: 'new' }]);
  });

  test('keeps order and loses nothing that is at least once, however many there are', async () => {
    const feed = await Feed.open('/v1/messages/many?count=3000');
    const client = await connect('many');
    const sent = Array.from({ length: 3_000 }, (_, n) => client.publishAsync('many', `${n}`, { qos: 1 }));
    await Promise.all(sent);
    await feed.ended();
    expect(feed.messages.map(({ body }) => Number(body))).toEqual(Array.from({ length: 3_000 }, (_, n) => n));
  });

  test('costs only itself where it does not read: at least once waits, at most once is dropped and counted', async () => {
    const { response, destroy } = await new Promise<{ response: IncomingMessage; destroy(): void }>(
      (resolve) => {
        const request = get(`${gateway.url}/v1/messages/flood/%23`, (answer) => {
          answer.pause();
          resolve({ response: answer, destroy: () => request.destroy() });
        });
      },
    );
    const counts: Record<string, number> = { waits: 0, goes: 0 };
    const client = await connect('flood');
    const body = Buffer.alloc(20_000, 'x');
    const droppedBefore = await dropped();
    for (let n = 0; n < 40; n++) {
      const sent = Array.from({ length: 50 }, () => client.publishAsync('flood/goes', body, { qos: 0 }));
      await Promise.all([...sent, client.publishAsync('flood/waits', body, { qos: 1 })]);
    }
    await expect.poll(dropped).toBeGreaterThan(droppedBefore);
    let text = '';
    response.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const events = text.split('\n\n');
      text = events.pop() as string;
      for (const event of events) {
        const [, kind] = /"address":"flood\/(\w+)"/.exec(event) ?? [];
        if (kind !== undefined) counts[kind] = (counts[kind] ?? 0) + 1;
      }
    });
    response.resume();
    await expect.poll(() => counts.waits, { timeout: 10_000 }).toBe(40);
    expect((await dropped()) - droppedBefore + (counts.goes ?? 0)).toBe(2_000);
    destroy();
  });

  test('is bounded, and its session goes with it', async () => {
    const feeds = [await Feed.open('/v1/messages/a'), await Feed.open('/v1/messages/b')];
    const refused = await call('GET', '/v1/messages/c');
    expect(refused).toMatchObject({ status: 429, body: { code: 'limit-reached' } });
    expect((await call('GET', '/v1/sessions')).body.items).toHaveLength(2);
    for (const feed of feeds) await feed.stop();
    await expect.poll(async () => (await call('GET', '/v1/sessions')).body.items).toHaveLength(0);
    const again = await Feed.open('/v1/messages/c');
    const { body } = await call('GET', '/v1/sessions');
    expect((await call('DELETE', `/v1/sessions/${encodeURIComponent(body.items[0].id)}`)).status).toBe(204);
    await again.ended();
  });

  test.each([
    ['/v1/messages/$share/g/a', 'path', '/address'],
    ['/v1/messages/a%00b', 'path', '/address'],
    ['/v1/messages/a?count=0', 'query', '/count'],
    ['/v1/messages/a?qos=1', 'query', '/qos'],
  ])('%s is refused', async (path, place, pointer) => {
    const answer = await call('GET', path);
    expect(answer).toMatchObject({ status: 400, body: { in: place, pointer } });
  });
});

describe('retained', () => {
  test('is listed by filter in pages, shown and forgotten without telling anybody', async () => {
    for (const n of [1, 2, 3]) {
      await call('POST', `/v1/messages/shelf/${n}/x`, { body: `${n}`, retain: true });
    }
    const first = await call('GET', '/v1/retained?filter=shelf/%2B/x&limit=2');
    expect(first.body.items.map(({ address }: { address: string }) => address)).toEqual([
      'shelf/1/x',
      'shelf/2/x',
    ]);
    const second = await call('GET', `/v1/retained?filter=shelf/%2B/x&limit=2&after=${first.body.next}`);
    expect(second.body).toMatchObject({
      items: [{ address: 'shelf/3/x', body: '3', retain: true }],
      next: null,
    });

    const feed = await Feed.open('/v1/messages/shelf/%23?retained=false');
    expect((await call('GET', '/v1/retained/shelf/2/x')).body).toMatchObject({ body: '2' });
    expect((await call('DELETE', '/v1/retained/shelf/2/x')).status).toBe(204);
    expect((await call('GET', '/v1/retained/shelf/2/x')).status).toBe(404);
    expect((await call('DELETE', '/v1/retained/shelf/2/x')).status).toBe(404);
    await call('POST', '/v1/messages/shelf/end', { body: 'end' });
    expect(await feed.until(1)).toMatchObject([{ body: 'end' }]);
    await feed.stop();
    expect((await call('GET', '/v1/retained?filter=')).body).toMatchObject({
      in: 'query',
      pointer: '/filter',
    });
  });

  test('that was forgotten stays so after a restart', async () => {
    await call('POST', '/v1/messages/gone/1', { body: '1', retain: true });
    await call('POST', '/v1/messages/gone/2', { body: '2', retain: true });
    await call('DELETE', '/v1/retained/gone/1');
    await gateway.stop();
    await gateway.start(['http.subscribersMax=2']);
    const { body } = await call('GET', '/v1/retained?filter=gone/%23');
    expect(body.items.map(({ address }: { address: string }) => address)).toEqual(['gone/2']);
  });
});

describe('a session that is ended', () => {
  test('disconnects its client and forgets what waited', async () => {
    const client = await connect('doomed', { clean: false, properties: { sessionExpiryInterval: 600 } });
    await client.subscribeAsync('doomed', { qos: 1 });
    const reason = new Promise((resolve) => {
      client.once('disconnect', (packet) => resolve(packet.reasonCode));
    });
    expect((await call('DELETE', '/v1/sessions/doomed')).status).toBe(204);
    expect(await reason).toBe(0x98);
    expect((await call('GET', '/v1/sessions/doomed')).status).toBe(404);
    expect((await call('DELETE', '/v1/sessions/doomed')).status).toBe(404);
    await call('POST', '/v1/messages/doomed', { body: 'late' });
    const again = await connect('doomed', { clean: false });
    expect((await call('GET', '/v1/sessions/doomed')).body).toMatchObject({
      queuedCount: 0,
      subscriptionCount: 0,
    });
    await again.endAsync();
  });
});

test('a gateway that stops ends its subscribers', async () => {
  const feed = await Feed.open('/v1/messages/a');
  const before = performance.now();
  await gateway.stop();
  await feed.ended();
  expect(performance.now() - before).toBeLessThan(900);
  await gateway.start(['http.subscribersMax=2']);
});

test('an address with U+0000, over which MQTT clients fall, is refused and remembered by nobody', async () => {
  const { status, body } = await call('POST', '/v1/messages/zero/x%00y', { body: 'p', retain: true });
  expect({ status, detail: body.detail }).toEqual({ status: 400, detail: expect.stringContaining('U+0000') });
  expect((await call('GET', '/v1/retained/zero/x%00y')).status).not.toBe(200);
});
