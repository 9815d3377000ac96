/** Sidecar mode refuses listeners that others could reach; a bound of memory bounds what nobody has set. */
import { describe, expect, it, vi } from 'vitest';
import { boundHeap, collectAfterStart, heapFlags, memoryAskedFor } from '../../../src/cli/heap.ts';
import { ConfigError, type ConfigSources, loadConfig, printConfig } from '../../../src/config/index.ts';
import { configShape } from '../../../src/main.ts';

const MIB = 1024 * 1024;

const load = (sources: Partial<ConfigSources>) =>
  loadConfig(configShape, { file: '/dev/null', environment: {}, assignments: [], flags: {}, ...sources });

function problemsOf(sources: Partial<ConfigSources>): readonly string[] {
  try {
    load(sources);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('sidecar mode', () => {
  it('refuses every listener that is not on loopback, and names the setting', () => {
    const environment = {
      ROSETTAMQ_SIDECAR: 'true',
      ROSETTAMQ_HOST: '0.0.0.0',
      ROSETTAMQ_HTTP__HOST: '10.0.0.1',
    };
    const because = 'and in sidecar mode (gateway.sidecar) it must be a loopback address, such as 127.0.0.1;';
    expect(problemsOf({ environment })).toEqual([
      `environment ROSETTAMQ_HOST: mqtt.host is 0.0.0.0, ${because} or set mqtt.enabled to false`,
      `environment ROSETTAMQ_HOST: amqp091.host is 0.0.0.0, ${because} or set amqp091.enabled to false`,
      `environment ROSETTAMQ_HOST: kafka.host is 0.0.0.0, ${because} or set kafka.enabled to false`,
      `environment ROSETTAMQ_HTTP__HOST: http.host is 10.0.0.1, ${because} or set http.enabled to false`,
    ]);
  });

  it.each([
    '127.0.0.1',
    '127.9.9.9',
    '::1',
    '0:0:0:0:0:0:0:1',
    'localhost',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
  ])('takes %s', (host) => {
    expect(problemsOf({ flags: { sidecar: 'true', host } })).toEqual([]);
  });

  it.each(['0.0.0.0', '::', '192.168.1.1', 'my-host', '::2', 'fe80::1'])('does not take %s', (host) => {
    expect(problemsOf({ flags: { sidecar: 'true', host } })).toHaveLength(3);
  });

  it('does not look at what does not listen', () => {
    const environment = {
      ROSETTAMQ_SIDECAR: 'true',
      ROSETTAMQ_KAFKA__HOST: '0.0.0.0',
      ROSETTAMQ_KAFKA__ENABLED: 'false',
    };
    expect(problemsOf({ environment })).toEqual([]);
  });

  it('bounds the memory, unless that is set', () => {
    const config = load({ flags: { sidecar: 'true' } });
    expect(config.host.gateway.memoryMebibytes).toBe(128);
    expect(config.origins.get('gateway.memoryMebibytes')).toBe('sidecar mode (gateway.sidecar)');
    expect(load({ flags: { sidecar: 'true', memory: '200' } }).host.gateway.memoryMebibytes).toBe(200);
    expect(load({ flags: { sidecar: 'true', memory: '0' } }).host.limits.heldBytesMax).toBe(512 * MIB);
  });
});

describe('a bound of memory', () => {
  it('bounds what nobody has set, and says so', () => {
    const config = load({ flags: { memory: '128' }, assignments: ['limits.queueMemoryBytesMax=5000'] });
    expect(config.host.limits).toMatchObject({ heldBytesMax: 16 * MIB, queueMemoryBytesMax: 5000 });
    expect(config.host.storage).toMatchObject({ tailBytesMax: 4 * MIB, checkpointBytes: MIB });
    const shown = printConfig(configShape, config, true);
    expect(shown).toContain('heldBytesMax: 16777216 # of 128 MiB (gateway.memoryMebibytes)');
    expect(shown).toContain('queueMemoryBytesMax: 5000 # --set limits.queueMemoryBytesMax');
    expect(shown).toContain('memoryMebibytes: 128 # --memory');
  });

  it('takes nothing above its default, and leaves all as it is where there is much', () => {
    const plenty = load({ flags: { memory: '65536' } });
    const { gateway: _, ...rest } = plenty.sections;
    const { gateway: __, ...defaults } = load({}).sections;
    expect(rest).toEqual(defaults);
  });

  it('leaves every message that may come room to wait', () => {
    for (const memory of [96, 128, 256, 1024]) {
      const { host, sections } = load({ flags: { memory: String(memory) } });
      const { messageBytesMax, heldBytesMax } = host.limits;
      expect(heldBytesMax).toBeGreaterThanOrEqual(2 * messageBytesMax);
      const { amqp091, kafka } = sections as Record<string, Record<string, number>>;
      expect(amqp091!.unfinishedBytesMax).toBeGreaterThanOrEqual(messageBytesMax);
      expect(kafka!.unfinishedBytesMax).toBeGreaterThanOrEqual(kafka!.produceBytesMax!);
    }
  });

  it('that the program itself does not fit into is refused', () => {
    expect(problemsOf({ flags: { memory: '64' } })).toEqual([
      '--memory: gateway.memoryMebibytes must be 0 or at least 96, not 64 (MiB)',
    ]);
  });

  it('is half for the JavaScript heap, with a small young generation', () => {
    expect(heapFlags(128)).toEqual([
      '--max-old-space-size=64',
      '--max-semi-space-size=1',
      '--v8-pool-size=1',
    ]);
    expect(heapFlags(8192)).toEqual(['--max-old-space-size=4096', '--max-semi-space-size=16']);
  });

  it('is found in arguments and environment without reading settings', () => {
    expect(memoryAskedFor(['node', 'x', '--memory', '128'], {})).toBe(128);
    expect(memoryAskedFor(['node', 'x', 'serve', '--memory=96'], { ROSETTAMQ_MEMORY: '200' })).toBe(96);
    expect(memoryAskedFor(['node', 'x'], { ROSETTAMQ_MEMORY: '200' })).toBe(200);
    expect(memoryAskedFor(['node', 'x'], { ROSETTAMQ_MEMORY: 'much' })).toBe(0);
    expect(memoryAskedFor(['node', 'x', '--sidecar'], {})).toBe(128);
    expect(memoryAskedFor(['node', 'x'], { ROSETTAMQ_SIDECAR: 'true', ROSETTAMQ_MEMORY: '99' })).toBe(99);
    expect(memoryAskedFor(['node', 'x'], { ROSETTAMQ_SIDECAR: 'false' })).toBe(0);
  });

  it('that the settings refuse, or a command that only calls a gateway, begins nothing anew', () => {
    expect(memoryAskedFor(['node', 'x', '--memory', '95'], {})).toBe(0);
    expect(memoryAskedFor(['node', 'x', 'health', 'ready'], { ROSETTAMQ_SIDECAR: 'true' })).toBe(0);
  });

  it('is no more asked for once it is bounded: what the settings say of it may be another', () => {
    const env = { ROSETTAMQ_HEAP_BOUNDED: '200' };
    expect(memoryAskedFor(['node', 'x', '--sidecar', '--set', 'gateway.memoryMebibytes=200'], env)).toBe(0);
  });

  it('has what the start alone needed collected soon after, in a process that is bounded', async () => {
    const collected = vi.fn();
    const registry = new FinalizationRegistry(collected);
    (() => registry.register({}, 'what the start needed'))();
    const timers = vi.spyOn(globalThis, 'setTimeout');
    collectAfterStart();
    expect(timers).not.toHaveBeenCalled();
    timers.mockRestore();
    vi.stubEnv('ROSETTAMQ_HEAP_BOUNDED', '128');
    collectAfterStart();
    vi.unstubAllEnvs();
    await expect.poll(() => collected.mock.calls).toEqual([['what the start needed']]);
  });

  it('of nothing leaves the process alone', () => {
    expect(() => boundHeap(0)).not.toThrow();
  });
});

describe('environment variables', () => {
  it('hold lists, maps and whole sections in JSON or YAML', () => {
    const environment = {
      ROSETTAMQ_AUTH__ACL__RULES: '[{"effect": "allow", "actions": ["read"], "pattern": "a/#"}]',
      ROSETTAMQ_TLS__CERTIFICATES: '- certificateFile: a.pem\n  keyFile: a.key\n',
      ROSETTAMQ_AUTH__TRUSTED_NETWORKS: '["10.0.0.0/8"]',
      ROSETTAMQ_LIMITS: '{queuesMax: 7, streamsMax: 8}',
      ROSETTAMQ_LIMITS__STREAMS_MAX: '9',
      ROSETTAMQ_MQTT: '{"port": 1, "limits": {"inflightMax": 3}}',
      ROSETTAMQ_MQTT_PORT: '2',
    };
    const { host, sections } = load({ environment });
    expect(host.auth.acl.rules).toEqual([{ effect: 'allow', actions: ['read'], pattern: 'a/#' }]);
    expect(host.tls.certificates).toEqual([{ certificateFile: 'a.pem', keyFile: 'a.key' }]);
    expect(host.auth.trustedNetworks).toEqual(['10.0.0.0/8']);
    expect(host.limits).toMatchObject({ queuesMax: 7, streamsMax: 9 });
    expect(sections.mqtt).toMatchObject({ port: 2, limits: { inflightMax: 3 } });
  });

  it('that hold something wrong are refused with the place', () => {
    const environment = {
      ROSETTAMQ_LIMITS: '{queuesMax: many, queuesMin: 1}',
      ROSETTAMQ_KAFKA: 'off',
      ROSETTAMQ_MQTT: '{limits: 5}',
      ROSETTAMQ_TLS__CERTIFICATES: '[{"certificateFile": "a.pem"',
    };
    expect(problemsOf({ environment })).toEqual([
      'environment ROSETTAMQ_KAFKA: kafka is a section; name one setting of it, or write a map of settings in JSON or YAML',
      'environment ROSETTAMQ_LIMITS: limits.queuesMax must be a whole number, not "many"',
      'environment ROSETTAMQ_LIMITS: limits.queuesMin is not a setting; did you mean limits.queuesMax?',
      'environment ROSETTAMQ_MQTT: mqtt.limits is a section and must hold settings',
      expect.stringMatching(
        /^environment ROSETTAMQ_TLS__CERTIFICATES: tls.certificates must be a list, not "/,
      ),
    ]);
  });
});
