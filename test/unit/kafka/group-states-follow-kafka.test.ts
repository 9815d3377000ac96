/** The classic group protocol: joins, generations, assignments, departures and timeouts, on a clock of the test's own. */

import { beforeEach, describe, expect, it } from 'vitest';
import { ERRORS } from '../../../adapters/kafka/errors.ts';
import { Group, type JoinRequest } from '../../../adapters/kafka/state/group.ts';
import type { JoinResult, SyncResult } from '../../../adapters/kafka/state/group-member.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const NONE = 0;
const limits = { groupMembersMax: 5, groupBytesMax: 10_000, groupInitialDelayMs: 0 };

let clock: ManualClock;
let group: Group;
let emptied: number;

beforeEach(() => {
  clock = new ManualClock();
  emptied = 0;
  group = new Group('g', clock, limits, () => emptied++);
});

function request(changes: Partial<JoinRequest> = {}): JoinRequest {
  return {
    memberId: '',
    groupInstanceId: null,
    clientId: 'client',
    clientHost: '/127.0.0.1',
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 30_000,
    protocolType: 'consumer',
    protocols: [{ name: 'range', metadata: Buffer.from('topics') }],
    knowsMemberIdRequired: false,
    ...changes,
  };
}

/** The answer, or null while it is waited for. */
function join(changes: Partial<JoinRequest> = {}, to = group): { readonly result: JoinResult | null } {
  const held: { result: JoinResult | null } = { result: null };
  to.join(request(changes), (result) => {
    expect(held.result, 'answered twice').toBeNull();
    held.result = result;
  });
  return held;
}

function sync(
  memberId: string,
  generation: number,
  assignments: Record<string, string> = {},
  groupInstanceId: string | null = null,
): { readonly result: SyncResult | null } {
  const held: { result: SyncResult | null } = { result: null };
  const list = Object.entries(assignments).map(([id, text]) => ({
    memberId: id,
    assignment: Buffer.from(text),
  }));
  group.sync({ memberId, groupInstanceId }, generation, { type: null, name: null }, list, (result) => {
    expect(held.result, 'answered twice').toBeNull();
    held.result = result;
  });
  return held;
}

const beat = (memberId: string, generation: number): number =>
  group.heartbeat({ memberId, groupInstanceId: null }, generation);
const leave = (memberId: string): number => group.leave({ memberId, groupInstanceId: null });
const code = (name: keyof typeof ERRORS): number => ERRORS[name].code;

/** A stable group of two; the first leads. */
function stablePair(): { readonly leader: string; readonly follower: string; readonly generation: number } {
  const first = join().result as JoinResult;
  const second = join();
  const rejoined = join({ memberId: first.memberId }).result as JoinResult;
  const follower = (second.result as JoinResult).memberId;
  const generation = rejoined.generationId;
  const waiting = sync(follower, generation);
  sync(first.memberId, generation, { [first.memberId]: 'A', [follower]: 'B' });
  expect(waiting.result?.assignment.toString()).toBe('B');
  return { leader: first.memberId, follower, generation };
}

describe('joining', () => {
  it('makes the first member leader of generation 1, with everybody’s subscriptions', () => {
    const { result } = join();
    expect(result).toMatchObject({ errorCode: NONE, generationId: 1, protocolName: 'range' });
    expect(result?.leader).toBe(result?.memberId);
    expect(result?.members.map(({ metadata }) => metadata.toString())).toEqual(['topics']);
    expect(group.state).toBe('CompletingRebalance');
  });

  it('gives a new client its id first where it can take it', () => {
    const first = join({ knowsMemberIdRequired: true }).result as JoinResult;
    expect(first.errorCode).toBe(code('MEMBER_ID_REQUIRED'));
    expect(first.memberId).toMatch(/^client-/);
    expect(group.members.size).toBe(0);
    const again = join({ memberId: first.memberId, knowsMemberIdRequired: true }).result;
    expect(again).toMatchObject({ errorCode: NONE, memberId: first.memberId });
  });

  it('forgets an id that nobody came back with', () => {
    join({ knowsMemberIdRequired: true });
    expect(group.isUnused).toBe(false);
    clock.advance(10_001);
    expect(group.isUnused).toBe(true);
    expect(emptied).toBe(1);
  });

  it('refuses unknown ids, other kinds of groups and members without a protocol in common', () => {
    join();
    expect(join({ memberId: 'stranger' }).result?.errorCode).toBe(code('UNKNOWN_MEMBER_ID'));
    expect(join({ protocolType: 'connect' }).result?.errorCode).toBe(code('INCONSISTENT_GROUP_PROTOCOL'));
    const other = [{ name: 'sticky', metadata: Buffer.alloc(0) }];
    expect(join({ protocols: other }).result?.errorCode).toBe(code('INCONSISTENT_GROUP_PROTOCOL'));
    expect(join({ protocols: [] }).result?.errorCode).toBe(code('INCONSISTENT_GROUP_PROTOCOL'));
  });

  it('is bounded in members and in bytes', () => {
    for (let i = 0; i < limits.groupMembersMax; i++) join();
    expect(join().result?.errorCode).toBe(code('GROUP_MAX_SIZE_REACHED'));
    const small = new Group('s', clock, limits, () => {});
    const large = [{ name: 'range', metadata: Buffer.alloc(limits.groupBytesMax) }];
    expect(join({ protocols: large }, small).result?.errorCode).toBe(code('GROUP_MAX_SIZE_REACHED'));
  });

  it('waits a moment for more members when the group is new', () => {
    group = new Group('g', clock, { ...limits, groupInitialDelayMs: 100 }, () => {});
    const first = join();
    clock.advance(60);
    const second = join();
    clock.advance(60);
    expect(first.result).toBeNull();
    clock.advance(60);
    expect(first.result?.generationId).toBe(1);
    expect(second.result?.generationId).toBe(1);
    expect(first.result?.members).toHaveLength(2);
    expect(second.result?.members).toHaveLength(0);
  });

  it('chooses the protocol that most members prefer among those that all have', () => {
    group = new Group('g', clock, { ...limits, groupInitialDelayMs: 100 }, () => {});
    const protocols = (...names: string[]) => names.map((name) => ({ name, metadata: Buffer.from(name) }));
    const first = join({ protocols: protocols('range', 'sticky', 'old') });
    join({ protocols: protocols('sticky', 'range') });
    join({ protocols: protocols('sticky', 'range') });
    clock.advance(1_000);
    expect(first.result?.protocolName).toBe('sticky');
    expect(first.result?.members.map(({ metadata }) => metadata.toString())).toEqual([
      'sticky',
      'sticky',
      'sticky',
    ]);
  });
});

describe('a rebalance', () => {
  it('tells members to join again, and waits for all of them', () => {
    const { leader, follower, generation } = stablePair();
    const third = join();
    expect(group.state).toBe('PreparingRebalance');
    expect(beat(leader, generation)).toBe(code('REBALANCE_IN_PROGRESS'));
    expect(sync(leader, generation).result?.errorCode).toBe(code('REBALANCE_IN_PROGRESS'));
    join({ memberId: leader });
    expect(third.result).toBeNull();
    join({ memberId: follower });
    expect(third.result).toMatchObject({ errorCode: NONE, generationId: generation + 1, leader });
  });

  it('goes on without members that do not come', () => {
    const { leader, follower, generation } = stablePair();
    const third = join();
    join({ memberId: leader });
    for (let waited = 0; waited < 30_000; waited += 5_000) {
      beat(follower, generation); // alive, but never joins
      clock.advance(5_000);
    }
    clock.advance(100);
    expect(third.result?.generationId).toBe(generation + 1);
    expect(group.members.has(follower)).toBe(false);
    expect(beat(follower, generation)).toBe(code('UNKNOWN_MEMBER_ID'));
  });

  it('begins when a member leaves or its session ends', () => {
    const { leader, follower, generation } = stablePair();
    expect(leave(follower)).toBe(NONE);
    expect(beat(leader, generation)).toBe(code('REBALANCE_IN_PROGRESS'));
    const alone = join({ memberId: leader }).result as JoinResult;
    expect(alone.members).toHaveLength(1);
    expect(sync(leader, alone.generationId, { [leader]: 'all' }).result?.assignment.toString()).toBe('all');
    clock.advance(10_001);
    expect(group.members.size).toBe(0);
    expect(emptied).toBeGreaterThan(0);
  });

  it('interrupts members that wait for an assignment', () => {
    const first = join().result as JoinResult;
    const second = join();
    join({ memberId: first.memberId });
    const follower = (second.result as JoinResult).memberId;
    const waiting = sync(follower, 2);
    join();
    expect(waiting.result?.errorCode).toBe(code('REBALANCE_IN_PROGRESS'));
  });

  it('drops a member that never asks for its assignment, though the leader and its heartbeats came', () => {
    const { leader, follower } = stablePair();
    const again = join({ memberId: leader, protocols: [{ name: 'range', metadata: Buffer.from('more') }] });
    const rejoined = join({ memberId: follower }).result as JoinResult;
    const generation = again.result?.generationId as number;
    expect(rejoined.generationId).toBe(generation);
    sync(leader, generation, { [leader]: 'A', [follower]: 'B' });
    for (let i = 0; i < 7; i++) {
      clock.advance(5_000);
      beat(leader, generation);
      beat(follower, generation);
    }
    expect(group.members.has(follower)).toBe(false);
    expect(group.members.has(leader)).toBe(true);
  });

  it('drops members that joined and never ask for their assignment', () => {
    join();
    expect(group.state).toBe('CompletingRebalance');
    clock.advance(30_001);
    expect(group.members.size).toBe(0);
  });

  it('does not begin for a follower that asks again while nothing changed', () => {
    const { leader, follower, generation } = stablePair();
    expect(join({ memberId: follower }).result).toMatchObject({
      errorCode: NONE,
      generationId: generation,
      leader,
    });
    expect(group.state).toBe('Stable');
    const changed = [{ name: 'range', metadata: Buffer.from('other topics') }];
    expect(join({ memberId: follower, protocols: changed }).result).toBeNull();
    expect(group.state).toBe('PreparingRebalance');
  });
});

describe('a generation', () => {
  it('is checked by heartbeats, syncs and commits', () => {
    const { leader, generation } = stablePair();
    const member = { memberId: leader, groupInstanceId: null };
    expect(beat(leader, generation)).toBe(NONE);
    expect(beat(leader, generation - 1)).toBe(code('ILLEGAL_GENERATION'));
    expect(sync(leader, generation - 1).result?.errorCode).toBe(code('ILLEGAL_GENERATION'));
    expect(group.checkCommit(member, generation)).toBe(NONE);
    expect(group.checkCommit(member, generation + 1)).toBe(code('ILLEGAL_GENERATION'));
    expect(group.checkCommit({ memberId: '', groupInstanceId: null }, -1)).toBe(code('UNKNOWN_MEMBER_ID'));
    expect(beat('stranger', generation)).toBe(code('UNKNOWN_MEMBER_ID'));
  });

  it('takes commits while others are awaited, and none before the assignment is known', () => {
    const { leader, generation } = stablePair();
    const member = { memberId: leader, groupInstanceId: null };
    join();
    expect(group.checkCommit(member, generation)).toBe(NONE);
    const fresh = new Group('f', clock, limits, () => {});
    const joined = join({}, fresh).result as JoinResult;
    const own = { memberId: joined.memberId, groupInstanceId: null };
    expect(fresh.checkCommit(own, joined.generationId)).toBe(code('REBALANCE_IN_PROGRESS'));
  });

  it('gives a member that lost its answer the assignment again', () => {
    const { follower, generation } = stablePair();
    expect(sync(follower, generation).result?.assignment.toString()).toBe('B');
  });
});

describe('static members', () => {
  it('take their place again without a rebalance, and fence what they were', () => {
    const first = join({ groupInstanceId: 'i' }).result as JoinResult;
    sync(first.memberId, 1, { [first.memberId]: 'A' }, 'i');
    expect(group.state).toBe('Stable');
    const back = join({ groupInstanceId: 'i' }).result as JoinResult;
    expect(back).toMatchObject({ errorCode: NONE, generationId: 1 });
    expect(back.memberId).not.toBe(first.memberId);
    expect(group.state).toBe('Stable');
    expect(sync(back.memberId, 1, {}, 'i').result?.assignment.toString()).toBe('A');
    const old = { memberId: first.memberId, groupInstanceId: 'i' };
    expect(group.heartbeat(old, 1)).toBe(code('FENCED_INSTANCE_ID'));
  });

  it('leave by their instance id', () => {
    join({ groupInstanceId: 'i' });
    expect(group.leave({ memberId: '', groupInstanceId: 'other' })).toBe(code('UNKNOWN_MEMBER_ID'));
    expect(group.leave({ memberId: '', groupInstanceId: 'i' })).toBe(NONE);
    expect(group.members.size).toBe(0);
  });
});

describe('a dead group', () => {
  it('answers whoever waits and leaves no timer', () => {
    const { leader } = stablePair();
    const waiting = join();
    join({ memberId: leader });
    group.die();
    expect(waiting.result?.errorCode).toBe(code('UNKNOWN_MEMBER_ID'));
    expect(group.members.size).toBe(0);
    expect(join().result?.errorCode).toBe(code('UNKNOWN_MEMBER_ID'));
  });
});
