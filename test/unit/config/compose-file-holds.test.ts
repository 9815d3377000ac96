/** docker-compose.yml and the settings that it gives the gateway: bridges that there are, nothing open that need not be. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { compileBridgeMapping } from '../../../mappings/rules-bridge.ts';
import { Drivers, prepareBridge, prepareConnection } from '../../../src/bridges/prepared.ts';
import { loadConfig } from '../../../src/config/index.ts';
import { configShape, gatewayParts } from '../../../src/main.ts';
import { DEMANDED, readComposeFile } from '../../support/compose-file.ts';

const OURS = ['rosettamq', 'devices', 'display', 'shop'];
const OUTSIDE = ['kafka', 'rabbitmq'];
const { services, volumes } = readComposeFile();
const gateway = services.rosettamq!;
const entries = Object.entries(services);

const pathOf = (mounted: string): string => fileURLToPath(new URL(`../../../${mounted}`, import.meta.url));

function settings() {
  const { ROSETTAMQ_CONFIG: inside, ...environment } = gateway.environment!;
  const [outside] = gateway.volumes!.find((volume) => volume.split(':')[1] === inside)!.split(':');
  return loadConfig(configShape, { file: pathOf(outside!), environment, assignments: [], flags: {} });
}

it.each(Object.keys(DEMANDED))('is not read without %s', (name) => {
  expect(() => readComposeFile({ ...DEMANDED, [name]: '' })).toThrow(name);
});

it('has the gateway, two outside brokers, and who uses them', () => {
  expect(Object.keys(services).sort()).toEqual([...OURS, ...OUTSIDE].sort());
});

describe('what is open', () => {
  it('is published on loopback only, and of the outside brokers nothing', () => {
    for (const [name, { ports = [] }] of entries) {
      for (const port of ports) expect(port, name).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
      if (name !== 'rosettamq') expect(ports, name).toEqual([]);
    }
    const { host, sections } = settings();
    const listening = Object.keys(configShape.sections).map(
      (name) => (sections[name] as { port: number }).port,
    );
    const published = gateway.ports!.map((port) => Number(port.split(':')[2]));
    expect(published).toEqual(expect.arrayContaining([host.http.port, ...listening]));
  });

  it('has other ports by variables, and tells Kafka clients of theirs', () => {
    const { ports, environment } = readComposeFile({ ...DEMANDED, KAFKA_PORT: '19092', HTTP_PORT: '18080' })
      .services.rosettamq!;
    expect(ports).toEqual(expect.arrayContaining(['127.0.0.1:19092:9092', '127.0.0.1:18080:8080']));
    expect(environment!.ROSETTAMQ_KAFKA__ADVERTISED).toBe('127.0.0.1:19092');
  });
});

describe('what each may do', () => {
  it.each(OURS)('%s runs as nobody, with a read-only root and no capabilities', (name) => {
    expect(services[name]).toMatchObject({
      user: '1000:1000',
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
    });
  });

  it.each(OUTSIDE)('%s gets no new privileges', (name) => {
    expect(services[name]!.security_opt).toContain('no-new-privileges:true');
  });

  it('files of this folder are mounted where they are there, and read-only', () => {
    for (const [name, { volumes: mounted = [] }] of entries)
      for (const volume of mounted) {
        const [source, , mode] = volume.split(':') as [string, string, string?];
        if (!source.startsWith('.')) expect(Object.keys(volumes), name).toContain(source);
        else {
          expect(mode, volume).toBe('ro');
          expect(existsSync(pathOf(source)), volume).toBe(true);
        }
      }
  });
});

describe('the order', () => {
  it('has a check of health wherever one is waited for', () => {
    for (const [name, { depends_on: needed = {} }] of entries)
      for (const [other, { condition }] of Object.entries(needed))
        if (condition === 'service_healthy')
          expect(services[other]!.healthcheck!.test, `${other}, for ${name}`).toBeDefined();
  });

  it('leaves the gateway the time to stop', () => {
    const { unreadyMs, settleMs, drainMs } = settings().host.gateway;
    expect(Number.parseInt(gateway.stop_grace_period!, 10) * 1000).toBeGreaterThan(
      unreadyMs + settleMs + drainMs,
    );
  });

  it('is ready when its bridges are connected', () => {
    expect(gateway.healthcheck!.test).toEqual(['CMD', 'rosettamq', 'health', 'ready']);
    for (const bridge of Object.values(settings().host.bridges))
      expect(bridge).toMatchObject({ required: true });
  });
});

it('its bridges are what their drivers take, and lead to brokers that are in the file', async () => {
  const { connections, bridges } = settings().host;
  const drivers = new Drivers(gatewayParts.drivers);
  const prepared = new Map<string, Awaited<ReturnType<typeof prepareConnection>>>();
  for (const [name, definition] of Object.entries(connections)) {
    prepared.set(name, await prepareConnection(drivers, name, definition));
    expect(JSON.stringify(definition), name).toMatch(/"(kafka:9092|rabbitmq)"/);
  }
  const read = Object.entries(bridges).map(([name, definition]) =>
    prepareBridge({ compileMapping: compileBridgeMapping }, name, definition, (each) => prepared.get(each)),
  );
  expect(read.map(({ name, definition }) => `${name} ${definition.direction}`)).toEqual([
    'telemetry out',
    'orders in',
  ]);
  expect(read[1]!.sources).toEqual(['for-the-gateway']);
});
