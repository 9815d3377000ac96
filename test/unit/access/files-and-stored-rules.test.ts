/** Rules from Mosquitto's files, from the settings and from the data folder: read, read again, refused, kept. */

import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openAccess } from '../../../src/auth/access.ts';
import { rulesFromAclFile } from '../../../src/auth/acl-file.ts';
import type { AclSettings } from '../../../src/auth/acl-settings.ts';
import type { Principal } from '../../../src/core/index.ts';
import { TestClock } from '../../support/core.ts';
import { MemoryStorage } from '../../support/memory-storage.ts';

const folder = mkdtempSync(join(tmpdir(), 'rosettamq-acl-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const who = (user: string, clientId = ''): Principal => ({ user, groups: [], clientId });

async function open(settings: Partial<AclSettings> = {}, storage = new MemoryStorage()) {
  const clock = new TestClock();
  const told: { level: string; details: Record<string, unknown>; text: string }[] = [];
  const tell = (level: string) => (details: object, text: string) =>
    void told.push({ level, details: details as Record<string, unknown>, text });
  const logger = { debug: tell('debug'), info: tell('info'), warn: tell('warn'), error: tell('error') };
  const all: AclSettings = {
    default: 'auto',
    file: '',
    rules: [],
    rulesMax: 10,
    answersPerClientMax: 8,
    ...settings,
  };
  return { ...(await openAccess(all, storage, clock, logger)), clock, told };
}

describe('a file in Mosquitto’s syntax', () => {
  const text = [
    '# anybody without a name',
    'topic read public/#',
    '',
    'user ann lee',
    'topic lab/#',
    'topic write out box',
    'topic read out box',
    'topic deny lab/secret',
    'topic readwrite %u',
    'pattern write up/%c/%u',
    '',
  ].join('\r\n');

  it('means what it means there', async () => {
    const file = join(folder, 'mosquitto.acl');
    writeFileSync(file, text);
    const { access, rules, close } = await open({ file });
    const ann = who('ann lee', 'c1');
    expect(access.may(who(''), 'read', 'public/a')).toBe(true);
    expect(access.may(ann, 'read', 'public/a')).toBe(false);
    expect(access.may(who(''), 'publish', 'public/a')).toBe(false);
    expect(access.may(ann, 'publish', 'lab/x')).toBe(true);
    expect(access.may(ann, 'subscribe', 'lab/#')).toBe(true);
    expect(access.may(ann, 'read', 'lab/secret')).toBe(false);
    expect(access.may(ann, 'publish', 'out box')).toBe(true);
    expect(access.may(ann, 'publish', 'up/c1/ann lee')).toBe(true);
    expect(access.may(ann, 'publish', 'up/c2/ann lee')).toBe(false);
    // Names are put in where it says pattern, and nowhere else.
    expect(access.may(ann, 'publish', '%u')).toBe(true);
    expect(access.may(ann, 'publish', 'ann lee')).toBe(false);
    expect(access.may(ann, 'configure', 'lab/x')).toBe(false);
    expect([...rules.list()][0]).toEqual({
      name: `${file}:2`,
      source: 'file',
      definition: 'topic read public/#',
    });
    await expect(rules.remove(`${file}:2`)).rejects.toThrow('stands in a file');
    close();
  });

  it.each([
    ['topci read a', "'topci' is no keyword: did you mean 'topic'?"],
    ['topic raed a', "'raed' is no access: did you mean 'read'?"],
    ['pattern wirte a', "'wirte' is no access: did you mean 'write'?"],
    ['topic read a/#/b', "'#' is not at the end of 'a/#/b'"],
    ['topic read a+/b', "a wildcard is not a level of its own in 'a+/b'"],
    ['user', "'user' without a name"],
    ['topic', 'no topic'],
  ])('%j is refused with its place and what was meant', (line, reason) => {
    expect(() => rulesFromAclFile(`# first\n${line}\n`, '/etc/acl', 10)).toThrow(`/etc/acl:2: ${reason}`);
  });

  it('holds no more rules than it may', () => {
    const lines = Array.from({ length: 11 }, () => 'topic a').join('\n');
    expect(() => rulesFromAclFile(lines, 'f', 10)).toThrow('f:11: more than 10 rules (auth.acl.rulesMax)');
  });

  it('is read again within a second; a broken one changes nothing and is told once', async () => {
    const file = join(folder, 'changing.acl');
    let mtime = 1_000;
    const write = (content: string): void => {
      writeFileSync(file, content);
      utimesSync(file, ++mtime, mtime);
    };
    write('user ann\ntopic a\n');
    const { access, clock, told, close } = await open({ file });
    const ann = who('ann');
    const { generation } = access;
    const look = async (): Promise<void> => {
      clock.advance(1_000);
      for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    await look();
    expect(access.generation).toBe(generation);
    write('user ann\ntopic b\n');
    await look();
    expect([access.may(ann, 'read', 'a'), access.may(ann, 'read', 'b')]).toEqual([false, true]);
    expect(access.generation).not.toBe(generation);
    write('user ann\ntopic raed c\n');
    await look();
    await look();
    expect(access.may(ann, 'read', 'b')).toBe(true);
    rmSync(file);
    await look();
    await look();
    expect(access.may(ann, 'read', 'b')).toBe(true);
    const failures = told.filter(({ level }) => level === 'error');
    expect(failures).toHaveLength(2);
    expect(failures[0]?.details.error).toContain(`${file}:2:`);
    write('user ann\ntopic c\n');
    await look();
    expect(access.may(ann, 'read', 'c')).toBe(true);
    close();
  });

  it('that is missing or broken stops the start', async () => {
    await expect(open({ file: join(folder, 'none') })).rejects.toThrow(/auth\.acl\.file: ENOENT/);
  });
});

describe('without rules', () => {
  it('everything is allowed, until there is one', async () => {
    const { access, rules } = await open();
    expect(access.unrestricted).toBe(true);
    await rules.put('one', { effect: 'deny', actions: ['write'], pattern: 'a' });
    expect(access.unrestricted).toBe(false);
    expect(access.may(who('x'), 'publish', 'b')).toBe(false);
    await rules.remove('one');
    expect(access.unrestricted).toBe(true);
    expect(access.may(who('x'), 'publish', 'b')).toBe(true);
  });

  it('the default may be to deny, and with rules to allow', async () => {
    expect((await open({ default: 'deny' })).access.may(who('x'), 'read', 'a')).toBe(false);
    const rules = [{ effect: 'deny', actions: ['write'], pattern: 'a' }] as const;
    const { access } = await open({ default: 'allow', rules: rules as unknown as AclSettings['rules'] });
    expect(access.may(who('x'), 'publish', 'a')).toBe(false);
    expect(access.may(who('x'), 'publish', 'b')).toBe(true);
    expect(access.may(who('x'), 'subscribe', '#')).toBe(true);
  });
});

describe('rules that are put while it runs', () => {
  const rule = { effect: 'allow', group: 'g', actions: ['write'], pattern: 'a/%u' };

  it('survive, are listed, and go', async () => {
    const storage = new MemoryStorage();
    const first = await open({}, storage);
    await first.rules.put('mine', rule);
    const second = await open({}, storage);
    expect(second.rules.get('mine')).toEqual({ name: 'mine', source: 'api', definition: rule });
    expect([...second.rules.list()]).toHaveLength(1);
    const ann = { user: 'ann', groups: ['g'], clientId: '' };
    expect(second.access.may(ann, 'publish', 'a/ann')).toBe(true);
    expect(await second.rules.remove('mine')).toBe(true);
    expect(await second.rules.remove('mine')).toBe(false);
    expect([...(await open({}, storage)).rules.list()]).toEqual([]);
  });

  it.each([
    ['a/b', rule, 'a rule’s name is'],
    ['x', { ...rule, effect: 'permit' }, "effect is 'allow' or 'deny'"],
    ['x', { ...rule, actions: ['wrte'] }, "'wrte' is no action: did you mean 'write'?"],
    ['x', { ...rule, actions: [] }, 'actions is a list of'],
    ['x', { ...rule, pattern: 'a/#/b' }, "'#' is not at the end"],
    ['x', { ...rule, user: 'u' }, 'user and group in one rule'],
    ['x', { ...rule, pttern: 'a' }, "'pttern' is not known: did you mean 'pattern'?"],
    ['x', [], 'a rule is an object'],
  ])('%j %j is refused', async (name, definition, reason) => {
    const { rules, access } = await open();
    await expect(rules.put(name, definition)).rejects.toThrow(reason);
    expect(access.unrestricted).toBe(true);
  });

  it('are bounded in number', async () => {
    const { rules } = await open({ rulesMax: 1 });
    await rules.put('a', rule);
    await rules.put('a', rule);
    await expect(rules.put('b', rule)).rejects.toThrow('rulesMax');
  });
});

describe('names in patterns', () => {
  const put = async (definition: object) => {
    const { rules, access } = await open();
    await rules.put('a', { actions: ['all'], ...definition });
    return access;
  };

  it.each(['a/b', '+', '#', 'x+', ''])('a user named %j gets nothing by %%u', async (user) => {
    const access = await put({ effect: 'allow', pattern: 'u/%u/#' });
    for (const address of ['u/a/b/c', 'u/a', 'u/+', 'u/#', 'u/x+/y', 'u//a', `u/${user}/x`]) {
      expect(access.may(who(user), 'publish', address), address).toBe(false);
    }
    expect(access.may(who(user), 'subscribe', `u/${user}/#`)).toBe(false);
  });

  it('do not lead into reserved roots', async () => {
    const access = await put({ effect: 'allow', pattern: '%c/#' });
    expect(access.may(who('', '$queue'), 'read', '$queue/orders')).toBe(false);
    expect(access.may(who('', 'mine'), 'read', 'mine/orders')).toBe(true);
  });

  it('never open what they close', async () => {
    const { rules, access } = await open();
    await rules.put('open', { effect: 'allow', actions: ['all'], pattern: '#' });
    await rules.put('close', { effect: 'deny', actions: ['write'], pattern: 'u/%u/private' });
    expect(access.may(who('a/b'), 'publish', 'u/a/b/private')).toBe(false);
    expect(access.may(who('+'), 'publish', 'u/+/private')).toBe(false);
    expect(access.may(who('+'), 'publish', 'u/x/private')).toBe(true);
  });
});
