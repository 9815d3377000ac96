/** Time that this process spent computing: for tests of how much work something is, on machines that do other work too. */

/** Milliseconds of all its threads, from no particular start. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
