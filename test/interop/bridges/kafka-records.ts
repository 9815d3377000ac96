/** What an independent consumer (kcat, which leaves out what was taken back) finds in a topic of a Kafka. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { locatePeer } from '../../peers/programs.ts';

export interface FoundRecord {
  readonly partition: number;
  readonly offset: number;
  readonly ts: number;
  /** Names and values, one after the other. */
  readonly headers?: readonly (string | null)[];
  readonly key: string | null;
  readonly payload: string | null;
}

/** From the beginning, committed records only, until each partition's end. */
export async function readAll(broker: string, topic: string): Promise<FoundRecord[]> {
  const options = ['-C', '-b', broker, '-t', topic, '-o', 'beginning', '-e', '-q', '-J'];
  const { stdout } = await promisify(execFile)(
    locatePeer('kcat'),
    [...options, '-X', 'isolation.level=read_committed'],
    { maxBuffer: 1 << 30, timeout: 90_000 },
  );
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as FoundRecord);
}
