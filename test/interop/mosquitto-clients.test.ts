/** The first lines of every MQTT tutorial: live, retained and will messages with the Mosquitto clients. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Gateway, startGateway } from './gateway.ts';
import {
  describeWith,
  messagesOf,
  Program,
  pause,
  publishLines,
  run,
  subscribe,
  waitFor,
} from './programs.ts';

describeWith(['mosquitto-clients'], 'mosquitto_pub and mosquitto_sub', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.stop());
  const publish = (options: string): Promise<string[]> =>
    run(`mosquitto_pub -h 127.0.0.1 -p ${gateway.ports.mqtt} ${options}`);

  for (const version of ['311', '5']) {
    it(`-V ${version}: a subscriber of sensors/# sees what is published`, async () => {
      const subscriber = await subscribe(gateway.ports.mqtt, `-V ${version} -t 'sensors/#' -v`);
      await publish(`-V ${version} -t sensors/temp -m 22.5 -q 1`);
      await subscriber.waitForLine('sensors/temp 22.5');
    });

    it(`-V ${version}: every quality of service arrives in order and once`, async () => {
      const topic = `levels/${version}`;
      const subscriber = await subscribe(gateway.ports.mqtt, `-V ${version} -t ${topic} -q 2`);
      const numbers = Array.from({ length: 200 }, (_, index) => String(index));
      for (const qos of [0, 1, 2]) {
        const before = messagesOf(subscriber).length;
        await publishLines(
          `-h 127.0.0.1 -p ${gateway.ports.mqtt} -V ${version} -t ${topic} -q ${qos}`,
          numbers,
        );
        await waitFor(`200 messages at QoS ${qos}`, () => messagesOf(subscriber).length >= before + 200);
        await pause(50);
        expect(messagesOf(subscriber).slice(before)).toEqual(numbers);
      }
    });

    it(`-V ${version}: a retained message waits for later subscribers until it is cleared`, async () => {
      const topic = `retained/${version}`;
      await publish(`-V ${version} -t ${topic} -m first -q 1 -r`);
      await publish(`-V ${version} -t ${topic} -m second -q 1 -r`);
      const command = `mosquitto_sub -h 127.0.0.1 -p ${gateway.ports.mqtt} -V ${version} -t 'retained/+' -W 2 -F '%t %r %p'`;
      expect((await run(`${command} || true`)).filter((line) => line.startsWith(topic))).toEqual([
        `${topic} 1 second`,
      ]);
      await publish(`-V ${version} -t ${topic} -n -q 1 -r`);
      expect((await run(`${command} || true`)).filter((line) => line.startsWith(topic))).toEqual([]);
    });

    it(`-V ${version}: the will of a client that dies is published`, async () => {
      const topic = `wills/${version}`;
      const subscriber = await subscribe(gateway.ports.mqtt, `-V ${version} -t 'wills/#' -v`);
      const mortal = await subscribe(
        gateway.ports.mqtt,
        `-V ${version} -t nothing --will-topic ${topic} --will-payload gone --will-qos 1`,
      );
      mortal.kill('SIGKILL');
      await subscriber.waitForLine(`${topic} gone`);
    });
  }

  it('a wildcard subscriber of one version sees publishers of the other', async () => {
    const old = await subscribe(gateway.ports.mqtt, "-V 311 -t 'mixed/+/x' -v");
    const current = await subscribe(gateway.ports.mqtt, "-V 5 -t 'mixed/#' -v");
    await publish('-V 5 -t mixed/a/x -m new -q 1 -D publish user-property unit celsius');
    await publish('-V 311 -t mixed/b/x -m old -q 1');
    for (const subscriber of [old, current]) {
      await subscriber.waitForLine('mixed/a/x new');
      await subscriber.waitForLine('mixed/b/x old');
    }
  });

  it('a persistent session gets what came while its client was away', async () => {
    const options = `-h 127.0.0.1 -p ${gateway.ports.mqtt} -i keeper -c -q 1 -t 'kept/#'`;
    await run(`mosquitto_sub ${options} -E`);
    for (let number = 0; number < 3; number++) await publish(`-t kept/x -m ${number} -q 1`);
    expect(await run(`mosquitto_sub ${options} -C 3`)).toEqual(['0', '1', '2']);
  });

  it('retained messages and sessions survive a restart of the gateway', async () => {
    const options = '-i survivor -c -q 1 -t survive/session';
    await run(`mosquitto_sub -h 127.0.0.1 -p ${gateway.ports.mqtt} ${options} -E`);
    await publish('-t survive/retained -m still-here -q 1 -r');
    await publish('-t survive/session -m queued -q 1');
    await gateway.restart();
    const base = `mosquitto_sub -h 127.0.0.1 -p ${gateway.ports.mqtt}`;
    expect(await run(`${base} -t survive/retained -C 1 -W 10`)).toEqual(['still-here']);
    expect(await run(`${base} ${options} -C 1 -W 10`)).toEqual(['queued']);
  });

  it('a client that speaks nonsense is closed and nobody else notices', async () => {
    const subscriber = await subscribe(gateway.ports.mqtt, "-t 'calm/#' -v");
    const nonsense = new Program(
      `exec 3<>/dev/tcp/127.0.0.1/${gateway.ports.mqtt}; printf '\\xf3\\xff\\xff\\xff\\xff\\xff' >&3; cat <&3; echo closed`,
      '',
    );
    await nonsense.waitForLine('closed');
    await publish('-t calm/x -m on -q 1');
    await subscriber.waitForLine('calm/x on');
  });
});
