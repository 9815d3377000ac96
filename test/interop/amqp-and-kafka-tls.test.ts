/** AMQP and Kafka clients over TLS, with certificates of their own where the gateway requires them. */
import { readFileSync } from 'node:fs';
import { connect } from 'amqplib';
import { ConfigResourceTypes, Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { describeWith, Program, python, run, waitFor } from './programs.ts';
import { type SecuredGateway, startSecuredGateway } from './secured-gateway.ts';

const gateways: { none?: SecuredGateway; require?: SecuredGateway } = {};
beforeAll(async () => {
  gateways.none = await startSecuredGateway('none');
  gateways.require = await startSecuredGateway('require');
});
afterAll(async () => {
  await gateways.none?.stop();
  await gateways.require?.stop();
});

const kinds = [
  ['TLS', 'none'],
  ['mutual TLS', 'require'],
] as const;

/** What a client in this process needs. */
function proofFor(kind: 'none' | 'require') {
  const { files } = gateways[kind]!;
  const ca = [readFileSync(files.authority)];
  return kind === 'none'
    ? { ca }
    : { ca, cert: readFileSync(files.certificate), key: readFileSync(files.key) };
}

describeWith(['python'], 'pika', () => {
  for (const [name, kind] of kinds) {
    it(`over ${name}: a large persistent message, there and back`, async () => {
      const { files, secured } = gateways[kind]!;
      const proof = kind === 'none' ? ['', ''] : [files.certificate, files.key];
      expect(await run(python('pika-tls.py', secured.amqp, files.authority, ...proof))).toEqual(['300000']);
    });
  }
});

describe('amqplib', () => {
  for (const [name, kind] of kinds) {
    it(`over ${name}: messages there and back, confirmed and in order`, async () => {
      const url = `amqps://guest:guest@localhost:${gateways[kind]!.secured.amqp}`;
      const connection = await connect(url, { ...proofFor(kind), servername: 'localhost' });
      onTestFinished(() => connection.close());
      const channel = await connection.createConfirmChannel();
      await channel.assertQueue('amqplib-tls', { durable: true });
      for (let number = 0; number < 500; number++) {
        channel.sendToQueue('amqplib-tls', Buffer.from(String(number).repeat(100)), { persistent: true });
      }
      await channel.waitForConfirms();
      const received: string[] = [];
      await channel.consume('amqplib-tls', (message) => {
        received.push(message!.content.toString());
        channel.ack(message!);
      });
      await waitFor('all messages', () => received.length >= 500);
      expect(received).toEqual(Array.from({ length: 500 }, (_, number) => String(number).repeat(100)));
    });
  }
});

describe('kafkajs', () => {
  for (const [name, kind] of kinds) {
    it(`over ${name}: records there and back`, async () => {
      const kafka = new Kafka({
        clientId: 'kafkajs-tls',
        brokers: [`127.0.0.1:${gateways[kind]!.secured.kafka}`],
        ssl: proofFor(kind),
        logLevel: logLevel.NOTHING,
      });
      const producer = kafka.producer();
      await producer.connect();
      onTestFinished(() => producer.disconnect());
      const messages = Array.from({ length: 100 }, (_, number) => ({ value: String(number) }));
      await producer.send({ topic: 'kafkajs-tls', messages });
      const consumer = kafka.consumer({ groupId: 'kafkajs-tls', maxWaitTimeInMs: 200 });
      await consumer.connect();
      onTestFinished(() => consumer.disconnect());
      await consumer.subscribe({ topic: 'kafkajs-tls', fromBeginning: true });
      const received: string[] = [];
      await consumer.run({
        eachMessage: async ({ message }) => {
          received.push(message.value!.toString());
        },
      });
      await waitFor('all records', () => received.length >= 100);
      expect(received).toEqual(messages.map(({ value }) => value));
    });
  }
});

it('Kafka tools see both listeners, each with its protocol', async () => {
  const { ports, secured } = gateways.none!;
  const kafka = new Kafka({
    brokers: [`127.0.0.1:${secured.kafka}`],
    ssl: proofFor('none'),
    logLevel: logLevel.NOTHING,
  });
  const admin = kafka.admin();
  await admin.connect();
  onTestFinished(() => admin.disconnect());
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [
      {
        type: ConfigResourceTypes.BROKER,
        name: '1',
        configNames: ['listeners', 'advertised.listeners'],
      },
    ],
  });
  const both = `PLAINTEXT://127.0.0.1:${ports.kafka},SSL://127.0.0.1:${secured.kafka}`;
  const told = resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]);
  expect(Object.fromEntries(told ?? [])).toEqual({ listeners: both, 'advertised.listeners': both });
});

describeWith(['kcat'], 'kcat', () => {
  const optionsOf = (kind: 'none' | 'require', withProof = kind === 'require'): string => {
    const { files, secured } = gateways[kind]!;
    const options = {
      'security.protocol': 'ssl',
      'ssl.ca.location': files.authority,
      ...(withProof ? { 'ssl.certificate.location': files.certificate, 'ssl.key.location': files.key } : {}),
    };
    const list = Object.entries(options).map(([name, value]) => `-X ${name}=${value}`);
    return `-b 127.0.0.1:${secured.kafka} ${list.join(' ')}`;
  };

  for (const [name, kind] of kinds) {
    it(`over ${name}: records there and back`, async () => {
      const lines = Array.from({ length: 100 }, (_, number) => `record ${number}`);
      await run(`kcat ${optionsOf(kind)} -P -t kcat-tls`, lines.join('\n'));
      expect(await run(`kcat ${optionsOf(kind)} -C -t kcat-tls -o beginning -e -q`)).toEqual(lines);
    });
  }

  it('without a certificate does not get in where one is required', async () => {
    const program = new Program(`timeout 15 kcat ${optionsOf('require', false)} -m 5 -L`, '');
    expect(await program.ended).not.toBe(0);
  });
});
