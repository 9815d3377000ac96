/** The examples for Kubernetes: settings that there are, ports that listen, time to stop, and no more rights than needed. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { type Config, loadConfig } from '../../../src/config/index.ts';
import { configShape } from '../../../src/main.ts';

const FOLDER = join(fileURLToPath(new URL('../../../', import.meta.url)), 'config/examples/kubernetes');
/** Kubernetes takes that many seconds where nothing else is said. */
const STOPPED_MS_MAX = 30_000;
const PROBES = ['startupProbe', 'readinessProbe', 'livenessProbe'] as const;

type Probe = {
  readonly exec?: { readonly command: readonly string[] };
  readonly httpGet?: { readonly path: string; readonly port: string };
};
type Container = Readonly<Record<(typeof PROBES)[number], Probe>> & {
  readonly name: string;
  readonly restartPolicy?: string;
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly resources: { readonly limits: { readonly memory: string } };
  readonly securityContext: object;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
};
interface PodSpec {
  readonly terminationGracePeriodSeconds: number;
  readonly enableServiceLinks?: boolean;
  readonly securityContext: object;
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes: readonly { readonly name: string }[];
}

const objects = globSync('*.yaml', { cwd: FOLDER })
  .sort()
  .flatMap((file) =>
    parseAllDocuments(readFileSync(join(FOLDER, file), 'utf8'), { strict: true }).map((document) => {
      expect(document.errors, file).toEqual([]);
      return { file, object: document.toJS() as { readonly kind: string; readonly spec: never } };
    }),
  );

const pods = objects
  .filter(({ object }) => /^(Deployment|StatefulSet)$/.test(object.kind))
  .map(({ file, object }) => {
    const spec = object.spec as {
      readonly template: { readonly spec: PodSpec };
      readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[];
    };
    const pod = spec.template.spec;
    const gateway = [...(pod.initContainers ?? []), ...pod.containers].find(
      ({ name }) => name === 'rosettamq',
    )!;
    const volumes = [
      ...pod.volumes.map(({ name }) => name),
      ...(spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata.name),
    ];
    return { file, pod, gateway, volumes };
  });

/** Files of secrets are not here: a list of one key stands for them. */
function configOf({ env }: Container): Config {
  const environment = Object.fromEntries(
    env.map(({ name, value }) =>
      name.endsWith('API_KEYS__FILE') ? [name.slice(0, -'__FILE'.length), 'k'.repeat(32)] : [name, value],
    ),
  );
  return loadConfig(configShape, { file: '/dev/null', environment, assignments: [], flags: {} });
}

const mebibytesOf = (text: string): number =>
  text.endsWith('Gi') ? Number.parseInt(text, 10) * 1024 : Number.parseInt(text, 10);

it('there is a sidecar, a gateway of its own, and a policy for its network', () => {
  expect(objects.map(({ object }) => object.kind)).toEqual([
    'NetworkPolicy',
    'Deployment',
    'Service',
    'StatefulSet',
  ]);
});

describe.each(pods)('$file', ({ pod, gateway, volumes }) => {
  it('gives the gateway settings that there are, and memory beyond what it stays within', () => {
    const { memoryMebibytes } = configOf(gateway).host.gateway;
    expect(memoryMebibytes).toBeGreaterThan(0);
    expect(mebibytesOf(gateway.resources.limits.memory)).toBeGreaterThan(memoryMebibytes);
  });

  it('is not told of services in variables that look like settings', () => {
    expect(pod.enableServiceLinks).toBe(false);
  });

  it('leaves it the time to stop', () => {
    const { unreadyMs, settleMs, drainMs } = configOf(gateway).host.gateway;
    expect(pod.terminationGracePeriodSeconds * 1000).toBeGreaterThan(unreadyMs + settleMs + drainMs + 5_000);
    expect(unreadyMs + settleMs + drainMs).toBeLessThan(STOPPED_MS_MAX);
  });

  it('asks what it answers, where it listens', () => {
    const paths = { startupProbe: '/startupz', readinessProbe: '/readyz', livenessProbe: '/livez' };
    const questions = { startupProbe: 'startup', readinessProbe: 'ready', livenessProbe: 'live' };
    const { http } = configOf(gateway).host;
    for (const probe of PROBES) {
      const { httpGet, exec } = gateway[probe];
      if (exec !== undefined) expect(exec.command).toEqual(['rosettamq', 'health', questions[probe]]);
      else {
        expect(httpGet).toEqual({ path: paths[probe], port: 'http' });
        expect(http.host).toBe('0.0.0.0');
        expect(gateway.ports).toContainEqual({ name: 'http', containerPort: http.port });
      }
    }
  });

  it('lets it do no more than it needs', () => {
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    expect(gateway.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(gateway.volumeMounts).toContainEqual({ name: 'data', mountPath: '/data' });
    for (const { name } of gateway.volumeMounts) expect(volumes).toContain(name);
  });
});

it('what Kubernetes tells of services whose names begin with that of the gateway is no setting', () => {
  const environment = {
    ROSETTAMQ_SERVICE_HOST: '10.0.0.1',
    ROSETTAMQ_SERVICE_PORT: '1883',
    ROSETTAMQ_SERVICE_PORT_MQTT: '1883',
    ROSETTAMQ_PORT: 'tcp://10.0.0.1:1883',
    ROSETTAMQ_PORT_1883_TCP: 'tcp://10.0.0.1:1883',
    ROSETTAMQ_PORT_1883_TCP_PROTO: 'tcp',
    ROSETTAMQ_PORT_1883_TCP_PORT: '1883',
    ROSETTAMQ_PORT_1883_TCP_ADDR: '10.0.0.1',
    ROSETTAMQ_MQTT_PORT: 'tcp://10.0.0.2:1883',
    ROSETTAMQ_MQTT_SERVICE_HOST: '10.0.0.2',
    ROSETTAMQ_KAFKA_PORT: '9093',
  };
  const { origins } = loadConfig(configShape, { file: '/dev/null', environment, assignments: [], flags: {} });
  expect([...origins]).toEqual([['kafka.port', 'environment ROSETTAMQ_KAFKA_PORT']]);
  const typo = { ROSETTAMQ_SERVICE: 'x' };
  expect(() =>
    loadConfig(configShape, { file: '/dev/null', environment: typo, assignments: [], flags: {} }),
  ).toThrow('ROSETTAMQ_SERVICE is not a setting');
});

it('the sidecar begins before the service and listens on loopback alone', () => {
  const [{ pod }] = pods as [(typeof pods)[number]];
  const [gateway] = pod.initContainers as [Container];
  expect(gateway.restartPolicy).toBe('Always');
  expect(configOf(gateway).host.gateway.sidecar).toBe(true);
});
