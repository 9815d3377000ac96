/** The data folder itself: who may open it, who may read it, which version it has. */

import { spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { Database } from '../../../src/storage/table/database.ts';
import { closeForTest, FaultyFileSystem, makeFolder, openForTest } from './storage-fixture.ts';

it('belongs to one opener at a time', async () => {
  const folder = makeFolder();
  const { storage } = await openForTest(folder);
  await expect(openForTest(folder)).rejects.toThrow(/already open in this process/);
  await closeForTest(storage);
  expect(existsSync(join(folder, 'lock'))).toBe(false);
  await openForTest(folder);
});

it('names the living process that holds it', async () => {
  const folder = makeFolder();
  const other = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)'], { stdio: 'ignore' });
  try {
    writeFileSync(join(folder, 'lock'), `{"pid":${other.pid},"started":"","host":"${hostname()}"}\n`);
    await expect(openForTest(folder)).rejects.toThrow(`belongs to process ${other.pid} on ${hostname()}`);
  } finally {
    other.kill('SIGKILL');
  }
});

it('is taken over from a process that is gone, or whose id another one has now', async () => {
  for (const owner of [
    `{"pid":999999999,"started":"1","host":"${hostname()}"}`,
    `{"pid":${process.ppid},"started":"1","host":"${hostname()}"}`,
    `{"pid":${process.pid},"started":"1","host":"${hostname()}"}`,
    'not a lock',
    '',
  ]) {
    const folder = makeFolder();
    writeFileSync(join(folder, 'lock'), owner);
    await openForTest(folder);
    expect(JSON.parse(readFileSync(join(folder, 'lock'), 'utf8')).pid).toBe(process.pid);
  }
});

it('is taken over from a process that was killed and that its parent has not looked after yet', async () => {
  // `exec` leaves a parent that never asks how its child ended, so the child stays in the table of processes.
  const parent = spawn('sh', ['-c', 'sleep 0.2 & echo $!; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    const pid = Number(await new Promise((resolve) => parent.stdout.once('data', resolve)));
    await expect.poll(() => readFileSync(`/proc/${pid}/stat`, 'latin1')).toMatch(/\) Z /);
    const folder = makeFolder();
    writeFileSync(join(folder, 'lock'), `{"pid":${pid},"started":"","host":"${hostname()}"}\n`);
    await openForTest(folder);
  } finally {
    parent.kill('SIGKILL');
  }
});

it('of another host, where process ids mean nothing, is held as long as its lock is touched', async () => {
  const folder = makeFolder();
  const lock = join(folder, 'lock');
  // A container: the same process id, another host name.
  writeFileSync(lock, `{"pid":${process.pid},"started":"1","host":"elsewhere"}\n`);
  await expect(openForTest(folder)).rejects.toThrow(`belongs to process ${process.pid} on elsewhere`);
  const longAgo = new Date(Date.now() - 11_000);
  utimesSync(lock, longAgo, longAgo);
  await openForTest(folder);
  utimesSync(lock, longAgo, longAgo);
  await expect.poll(() => Date.now() - statSync(lock).mtimeMs, { timeout: 5_000 }).toBeLessThan(3_000);
});

it('is made for its owner only', async () => {
  const folder = join(makeFolder(), 'deep', 'data');
  await openForTest(folder);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  for (const file of ['format', 'state.mdb', 'lock'])
    expect(statSync(join(folder, file)).mode & 0o077).toBe(0);
});

it('of another format version is refused and left alone', async () => {
  const folder = makeFolder();
  for (const version of [2, 4]) {
    writeFileSync(join(folder, 'format'), `rosettamq storage ${version}\n`);
    await expect(openForTest(folder)).rejects.toThrow(`storage format ${version}; this version reads 3`);
  }
  writeFileSync(join(folder, 'format'), 'something');
  await expect(openForTest(folder)).rejects.toThrow(/not the format file/);
  expect(existsSync(join(folder, 'lock'))).toBe(false);
  expect(existsSync(join(folder, 'state.mdb'))).toBe(false);
});

it('whose opening fails leaves the state database closed', async () => {
  const folder = makeFolder();
  await closeForTest((await openForTest(folder)).storage);
  const files = new FaultyFileSystem();
  files.isFailing = (call) => call === 'begin';
  const close = vi.spyOn(Database.prototype, 'close');
  try {
    await expect(openForTest(folder, { files })).rejects.toThrow('EIO');
    expect(close).toHaveBeenCalledOnce();
  } finally {
    close.mockRestore();
  }
});
