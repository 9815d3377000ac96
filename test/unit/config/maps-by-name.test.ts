import { describe, expect, it } from 'vitest';
import { type ConfigError, loadConfig, printConfig, printReference } from '../../../src/config/index.ts';
import { configShape } from '../../../src/main.ts';

const load = (environment: Record<string, string>, assignments: string[] = []) =>
  loadConfig(configShape, { file: '/dev/null', environment, assignments, flags: {} });

describe('a map by name', () => {
  const connections = { plant: { type: 'x', password: 'do not show' } };

  it('is one variable, in JSON or YAML, and is checked as far as its names go', () => {
    expect(load({}).host).toMatchObject({ connections: {}, bridges: {} });
    expect(load({ ROSETTAMQ_CONNECTIONS: JSON.stringify(connections) }).host.connections).toEqual(
      connections,
    );
    const yaml = 'b:\n  connection: plant\n  mappings:\n    - { match: "a/{x}" }\n';
    expect(load({ ROSETTAMQ_BRIDGES: yaml }).host.bridges).toEqual({
      b: { connection: 'plant', mappings: [{ match: 'a/{x}' }] },
    });
    expect(load({}, ['bridges={}']).host.bridges).toEqual({});
    const problemsOf = (text: string): readonly string[] => {
      try {
        load({ ROSETTAMQ_BRIDGES: text });
      } catch (error) {
        return (error as ConfigError).problems;
      }
      return [];
    };
    expect(problemsOf('[1]')).toEqual([
      'environment ROSETTAMQ_BRIDGES: bridges must have settings of its own, not be [1]',
    ]);
    expect(problemsOf('b: 7')).toEqual([
      'environment ROSETTAMQ_BRIDGES: bridges b must have settings of its own, not be 7',
    ]);
    expect(problemsOf('{')).toHaveLength(1);
  });

  it('that holds secrets is not shown', () => {
    const config = load({ ROSETTAMQ_CONNECTIONS: JSON.stringify(connections) });
    expect(printConfig(configShape, config, true)).not.toContain('do not show');
    const shown = [...config.shown()].find(({ name }) => name === 'connections');
    expect(shown).toMatchObject({ value: null, isSecret: true, origin: 'environment ROSETTAMQ_CONNECTIONS' });
    expect([...load({}).shown()].find(({ name }) => name === 'connections')?.value).toEqual({});
  });

  it('has an example in the manual', () => {
    expect(printReference(configShape)).toContain('#   bridges:\n#     telemetry-to-plant:\n');
  });
});
