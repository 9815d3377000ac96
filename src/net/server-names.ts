/**
 * Which certificate a client gets for the name that it asks for (RFC 6066 3, RFC 9525 6.3): an exact name first, then a
 * wildcard for just one level, compared without case. Filled and asked by `certificates.ts`.
 */

export class ServerNames<T> {
  readonly #byName = new Map<string, T>();

  /** The first who claims a name has it. */
  add(name: string, value: T): void {
    const key = name.toLowerCase();
    if (!this.#byName.has(key)) this.#byName.set(key, value);
  }

  find(name: string): T | undefined {
    const key = name.toLowerCase().replace(/\.$/, '');
    const exact = this.#byName.get(key);
    if (exact !== undefined) return exact;
    const dot = key.indexOf('.');
    return dot < 1 ? undefined : this.#byName.get(`*${key.slice(dot)}`);
  }
}
