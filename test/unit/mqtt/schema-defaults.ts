/** The value that a settings schema gives when nothing is set. */

interface Schema {
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
}

export function defaultsOf(schema: unknown): unknown {
  const { properties, default: value } = schema as Schema;
  if (properties === undefined) return value;
  return Object.fromEntries(Object.entries(properties).map(([name, each]) => [name, defaultsOf(each)]));
}
