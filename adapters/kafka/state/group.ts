/**
 * One consumer group: who is in it, which generation it is in and which member gets what. The members decide on
 * assignments themselves (the leader computes them); the group makes sure that all agree on who is in. This is
 * Kafka's classic protocol; states and transitions follow it:
 *
 * | state               | means                                             | ends with                            |
 * |---------------------|---------------------------------------------------|--------------------------------------|
 * | Empty               | no member                                         | a join                               |
 * | PreparingRebalance  | waits for members to join again                   | all joined, or the time is over      |
 * | CompletingRebalance | waits for the leader's assignment                 | the leader's sync                    |
 * | Stable              | everybody knows what is theirs                    | a change of members or subscriptions |
 * | Dead                | forgotten by the coordinator                      |                                      |
 *
 * Used by `group-coordinator.ts`, which finds groups and checks requests against the server's bounds.
 */

import { randomUUID } from 'node:crypto';
import type { Clock, Timer } from '../../../src/core/index.ts';
import { ERRORS, type ErrorName, NONE } from '../errors.ts';
import {
  bytesOf,
  chooseProtocol,
  GroupMember,
  type JoinResult,
  type MemberClaim,
  NO_ASSIGNMENT,
  type SyncResult,
} from './group-member.ts';

export type GroupState = 'Empty' | 'PreparingRebalance' | 'CompletingRebalance' | 'Stable' | 'Dead';

export interface GroupLimits {
  readonly groupMembersMax: number;
  readonly groupBytesMax: number;
  readonly groupInitialDelayMs: number;
}

export interface JoinRequest extends MemberClaim {
  readonly memberId: string;
  readonly protocolType: string;
  /** A client that can be told its id first (KIP-394). */
  readonly knowsMemberIdRequired: boolean;
}

export interface MemberClaimed {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
}

export class Group {
  readonly id: string;
  readonly members = new Map<string, GroupMember>();
  readonly #clock: Clock;
  readonly #limits: GroupLimits;
  readonly #emptied: (group: Group) => void;
  readonly #staticIds = new Map<string, string>();
  /** Told to join again with the id they were given. */
  readonly #pending = new Map<string, Timer>();
  /** Were told the generation and have not asked for their assignment. */
  readonly #unsynced = new Set<GroupMember>();
  #state: GroupState = 'Empty';
  #generation = 0;
  #protocolType: string | null = null;
  #protocolName: string | null = null;
  #leader: string | null = null;
  #deadline: Timer | null = null;
  /** The first rebalance waits for more members, up to here. */
  #initialUntilMs = 0;
  #initialPhase = false;

  /** `emptied` is called when the last member is gone. */
  constructor(id: string, clock: Clock, limits: GroupLimits, emptied: (group: Group) => void) {
    this.id = id;
    this.#clock = clock;
    this.#limits = limits;
    this.#emptied = emptied;
  }

  get state(): GroupState {
    return this.#state;
  }

  get generation(): number {
    return this.#generation;
  }

  get protocolType(): string {
    return this.#protocolType ?? '';
  }

  get protocolName(): string {
    return this.#protocolName ?? '';
  }

  get isUnused(): boolean {
    return this.members.size === 0 && this.#pending.size === 0;
  }

  // ------------------------------------------------------------------------------------------------- joining

  /** `answer` is called once, now or when the rebalance is complete. */
  join(request: JoinRequest, answer: (result: JoinResult) => void): void {
    const refuse = (error: ErrorName, memberId = request.memberId): void =>
      answer({ ...this.#joinAnswer(memberId), errorCode: ERRORS[error].code, generationId: -1, leader: '' });
    const { memberId, groupInstanceId } = request;
    const staticId = groupInstanceId === null ? undefined : this.#staticIds.get(groupInstanceId);
    const member = this.members.get(memberId === '' ? (staticId ?? '') : memberId);
    const fault = this.#joinFault(request, staticId, member);
    if (fault !== null) {
      refuse(fault);
      return;
    }
    if (member !== undefined) {
      if (memberId === '') this.#replaceStatic(member, request, answer);
      else this.#joinAgain(member, request, answer);
      return;
    }
    const expected = this.#pending.has(memberId);
    const newId = expected ? memberId : `${groupInstanceId ?? request.clientId}-${randomUUID()}`;
    if (memberId === '' && groupInstanceId === null && request.knowsMemberIdRequired) {
      this.#expect(newId, request.sessionTimeoutMs);
      refuse('MEMBER_ID_REQUIRED', newId);
      return;
    }
    this.#forgetPending(newId);
    this.#add(new GroupMember(newId, request), request, answer);
  }

  #joinFault(
    request: JoinRequest,
    staticId: string | undefined,
    member: GroupMember | undefined,
  ): ErrorName | null {
    const { memberId } = request;
    if (this.#state === 'Dead') return 'UNKNOWN_MEMBER_ID';
    if (memberId !== '' && staticId !== undefined && staticId !== memberId) return 'FENCED_INSTANCE_ID';
    if (!this.#hasCommonProtocol(request, member)) return 'INCONSISTENT_GROUP_PROTOCOL';
    if (this.#bytesWith(request, member) > this.#limits.groupBytesMax) return 'GROUP_MAX_SIZE_REACHED';
    if (member !== undefined || this.#pending.has(memberId)) return null;
    if (memberId !== '') return 'UNKNOWN_MEMBER_ID';
    const full = this.members.size + this.#pending.size >= this.#limits.groupMembersMax;
    return full ? 'GROUP_MAX_SIZE_REACHED' : null;
  }

  #expect(memberId: string, sessionTimeoutMs: number): void {
    const timer = this.#clock.after(sessionTimeoutMs, () => {
      this.#pending.delete(memberId);
      this.#completeIfAllJoined();
      if (this.isUnused) this.#emptied(this);
    });
    this.#pending.set(memberId, timer);
  }

  #forgetPending(memberId: string): boolean {
    this.#pending.get(memberId)?.cancel();
    return this.#pending.delete(memberId);
  }

  #add(member: GroupMember, request: JoinRequest, answer: (result: JoinResult) => void): void {
    this.members.set(member.id, member);
    if (member.groupInstanceId !== null) this.#staticIds.set(member.groupInstanceId, member.id);
    this.#protocolType = request.protocolType;
    this.#leader ??= member.id;
    member.awaitJoin(answer);
    this.#rebalance();
  }

  /** A static member came back under its instance id: it takes the place of what it was (KIP-345). */
  #replaceStatic(member: GroupMember, request: JoinRequest, answer: (result: JoinResult) => void): void {
    const fenced = ERRORS.FENCED_INSTANCE_ID.code;
    member.answerJoin({ ...this.#joinAnswer(member.id), errorCode: fenced });
    member.answerSync({ ...this.#syncAnswer(member), errorCode: fenced });
    member.stopTimer();
    this.members.delete(member.id);
    const wasLeader = this.#leader === member.id;
    const unchanged = member.hasProtocols(request.protocols);
    member.id = `${request.groupInstanceId}-${randomUUID()}`;
    member.update(request);
    this.members.set(member.id, member);
    this.#staticIds.set(request.groupInstanceId as string, member.id);
    if (wasLeader) this.#leader = member.id;
    // What it had is still its own. A leader answers as a follower, or it would assign anew.
    if (this.#state === 'Stable' && unchanged) {
      this.#keepAlive(member);
      answer({ ...this.#joinAnswer(member.id), members: [], leader: wasLeader ? '' : (this.#leader ?? '') });
      return;
    }
    member.awaitJoin(answer);
    this.#rebalance();
  }

  #joinAgain(member: GroupMember, request: JoinRequest, answer: (result: JoinResult) => void): void {
    const unchanged = member.hasProtocols(request.protocols);
    member.answerJoin({ ...this.#joinAnswer(member.id), errorCode: ERRORS.UNKNOWN_MEMBER_ID.code });
    const settled = this.#state === 'CompletingRebalance' || this.#state === 'Stable';
    // A follower whose answer was lost, or who asks again while nothing changed, is told what holds.
    if (settled && unchanged && (this.#state === 'CompletingRebalance' || member.id !== this.#leader)) {
      member.update(request);
      this.#keepAlive(member);
      answer(this.#joinAnswer(member.id));
      return;
    }
    member.update(request);
    member.awaitJoin(answer);
    this.#rebalance();
  }

  #hasCommonProtocol(request: JoinRequest, self: GroupMember | undefined): boolean {
    const others = [...this.members.values()].filter((member) => member !== self);
    if (request.protocolType === '' || request.protocols.length === 0) return false;
    if (others.length === 0) return true;
    if (request.protocolType !== this.#protocolType) return false;
    return request.protocols.some(({ name }) => others.every((member) => member.supports(name)));
  }

  #bytesWith(request: JoinRequest, self: GroupMember | undefined): number {
    let bytes = bytesOf(request.protocols);
    for (const member of this.members.values()) if (member !== self) bytes += member.bytes;
    return bytes;
  }

  // --------------------------------------------------------------------------------------------- rebalancing

  #rebalance(): void {
    if (this.#state === 'PreparingRebalance') {
      if (this.#initialPhase) this.#extendInitialDelay();
      else this.#completeIfAllJoined();
      return;
    }
    if (this.#state === 'CompletingRebalance') {
      for (const member of this.members.values()) {
        member.assignment = NO_ASSIGNMENT;
        if (!member.isSyncing) continue;
        member.answerSync({ ...this.#syncAnswer(member), errorCode: ERRORS.REBALANCE_IN_PROGRESS.code });
        this.#keepAlive(member);
      }
    }
    const first = this.#state === 'Empty';
    this.#state = 'PreparingRebalance';
    if (first && this.#limits.groupInitialDelayMs > 0) {
      this.#initialPhase = true;
      this.#initialUntilMs = this.#clock.nowMs() + this.#rebalanceTimeoutMs();
      this.#extendInitialDelay();
      return;
    }
    this.#setDeadline(this.#rebalanceTimeoutMs(), this.#completeJoin);
    this.#completeIfAllJoined();
  }

  /** Each member that comes may be followed by another, but not beyond what the members allow. */
  #extendInitialDelay(): void {
    const left = this.#initialUntilMs - this.#clock.nowMs();
    this.#setDeadline(Math.max(0, Math.min(left, this.#limits.groupInitialDelayMs)), this.#completeJoin);
  }

  #rebalanceTimeoutMs(): number {
    let timeoutMs = 0;
    for (const member of this.members.values()) timeoutMs = Math.max(timeoutMs, member.rebalanceTimeoutMs);
    return timeoutMs;
  }

  #completeIfAllJoined(): void {
    if (this.#state !== 'PreparingRebalance' || this.#initialPhase || this.#pending.size > 0) return;
    for (const member of this.members.values()) if (!member.isJoining) return;
    this.#completeJoin();
  }

  readonly #completeJoin = (): void => {
    this.#cancelDeadline();
    this.#initialPhase = false;
    for (const member of [...this.members.values()]) {
      // A static member may be away for as long as its session lasts.
      if (!member.isJoining && member.groupInstanceId === null) this.#drop(member);
    }
    this.#generation++;
    if (this.members.size === 0) {
      this.#state = 'Empty';
      this.#leader = null;
      if (this.isUnused) this.#emptied(this);
      return;
    }
    if (this.#leader === null || !(this.members.get(this.#leader)?.isJoining ?? false)) {
      const joining = [...this.members.values()].find((member) => member.isJoining);
      if (joining === undefined) {
        // Only static members are left, and none of them is here: they have until their sessions end.
        this.#setDeadline(this.#rebalanceTimeoutMs(), this.#completeJoin);
        return;
      }
      this.#leader = joining.id;
    }
    this.#protocolName = chooseProtocol([...this.members.values()]);
    this.#unsynced.clear();
    this.#state = 'CompletingRebalance';
    this.#setDeadline(this.#rebalanceTimeoutMs(), this.#dropUnsynced);
    for (const member of this.members.values()) {
      member.assignment = NO_ASSIGNMENT;
      if (!member.isJoining) continue;
      this.#unsynced.add(member);
      this.#keepAlive(member);
      member.answerJoin(this.#joinAnswer(member.id));
    }
  };

  /** What they hold and do not know of nobody else reads. Static members that are away have joined nothing. */
  readonly #dropUnsynced = (): void => {
    if (this.#state !== 'CompletingRebalance' && this.#state !== 'Stable') return;
    for (const member of this.#unsynced) this.#drop(member);
    this.#afterDeparture();
  };

  // ------------------------------------------------------------------------------- assignments and heartbeats

  sync(
    claimed: MemberClaimed,
    generation: number,
    protocol: { readonly type: string | null; readonly name: string | null },
    assignments: readonly { readonly memberId: string; readonly assignment: Buffer }[],
    answer: (result: SyncResult) => void,
  ): void {
    const member = this.members.get(claimed.memberId);
    const fault = this.#checkMember(claimed, generation) ?? this.#syncFault(protocol);
    if (fault !== null || member === undefined) {
      answer({
        errorCode: ERRORS[fault ?? 'UNKNOWN_MEMBER_ID'].code,
        protocolType: null,
        protocolName: null,
        assignment: NO_ASSIGNMENT,
      });
      return;
    }
    this.#unsynced.delete(member);
    if (this.#state === 'Stable') {
      if (this.#unsynced.size === 0) this.#cancelDeadline();
      this.#keepAlive(member);
      answer(this.#syncAnswer(member));
      return;
    }
    member.answerSync({ ...this.#syncAnswer(member), errorCode: ERRORS.UNKNOWN_MEMBER_ID.code });
    member.awaitSync(answer);
    if (member.id === this.#leader) this.#assign(assignments);
  }

  #syncFault(protocol: { readonly type: string | null; readonly name: string | null }): ErrorName | null {
    if (this.#state === 'PreparingRebalance') return 'REBALANCE_IN_PROGRESS';
    const sameType = protocol.type === null || protocol.type === this.#protocolType;
    const sameName = protocol.name === null || protocol.name === this.#protocolName;
    return sameType && sameName ? null : 'INCONSISTENT_GROUP_PROTOCOL';
  }

  #assign(assignments: readonly { readonly memberId: string; readonly assignment: Buffer }[]): void {
    for (const { memberId, assignment } of assignments) {
      const member = this.members.get(memberId);
      if (member !== undefined) member.assignment = Buffer.from(assignment);
    }
    if (this.#unsynced.size === 0) this.#cancelDeadline();
    this.#state = 'Stable';
    for (const member of this.members.values()) {
      if (!member.isSyncing) continue;
      this.#keepAlive(member);
      member.answerSync(this.#syncAnswer(member));
    }
  }

  heartbeat(claimed: MemberClaimed, generation: number): number {
    const error = this.#checkMember(claimed, generation);
    if (error !== null) return ERRORS[error].code;
    const member = this.members.get(claimed.memberId) as GroupMember;
    if (!member.isJoining && !member.isSyncing) this.#keepAlive(member);
    return this.#state === 'PreparingRebalance' ? ERRORS.REBALANCE_IN_PROGRESS.code : NONE;
  }

  /** Whether this member may commit offsets now. A generation below 0 comes from a reader that is in no group. */
  checkCommit(claimed: MemberClaimed, generation: number): number {
    if (generation < 0 && this.members.size === 0) return NONE;
    if (generation < 0 && claimed.memberId === '' && claimed.groupInstanceId === null) {
      return ERRORS.UNKNOWN_MEMBER_ID.code;
    }
    const error = this.#checkMember(claimed, generation);
    if (error !== null) return ERRORS[error].code;
    if (this.#state === 'CompletingRebalance') return ERRORS.REBALANCE_IN_PROGRESS.code;
    const member = this.members.get(claimed.memberId) as GroupMember;
    if (!member.isJoining) this.#keepAlive(member);
    return NONE;
  }

  leave(claimed: MemberClaimed): number {
    const { memberId, groupInstanceId } = claimed;
    const staticId = groupInstanceId === null ? undefined : this.#staticIds.get(groupInstanceId);
    if (groupInstanceId !== null && staticId === undefined) return ERRORS.UNKNOWN_MEMBER_ID.code;
    if (staticId !== undefined && memberId !== '' && memberId !== staticId)
      return ERRORS.FENCED_INSTANCE_ID.code;
    if (this.#forgetPending(memberId)) {
      this.#afterDeparture();
      return NONE;
    }
    const member = this.members.get(staticId ?? memberId);
    if (member === undefined) return ERRORS.UNKNOWN_MEMBER_ID.code;
    this.#drop(member);
    this.#afterDeparture();
    return NONE;
  }

  /** The coordinator forgets the group; whoever waits is told. */
  die(): void {
    this.#state = 'Dead';
    this.#cancelDeadline();
    for (const timer of this.#pending.values()) timer.cancel();
    this.#pending.clear();
    for (const member of [...this.members.values()]) this.#drop(member);
  }

  #checkMember(claimed: MemberClaimed, generation: number): ErrorName | null {
    const { memberId, groupInstanceId } = claimed;
    if (groupInstanceId !== null) {
      const staticId = this.#staticIds.get(groupInstanceId);
      if (staticId === undefined) return 'UNKNOWN_MEMBER_ID';
      if (staticId !== memberId) return 'FENCED_INSTANCE_ID';
    }
    if (!this.members.has(memberId)) return 'UNKNOWN_MEMBER_ID';
    return generation === this.#generation ? null : 'ILLEGAL_GENERATION';
  }

  #keepAlive(member: GroupMember): void {
    member.startTimer(this.#clock, () => {
      this.#drop(member);
      this.#afterDeparture();
    });
  }

  #drop(member: GroupMember): void {
    const gone = ERRORS.UNKNOWN_MEMBER_ID.code;
    member.stopTimer();
    this.#unsynced.delete(member);
    this.members.delete(member.id);
    if (member.groupInstanceId !== null) this.#staticIds.delete(member.groupInstanceId);
    if (this.#leader === member.id) this.#leader = null;
    member.answerJoin({ ...this.#joinAnswer(member.id), errorCode: gone });
    member.answerSync({ ...this.#syncAnswer(member), errorCode: gone });
  }

  #afterDeparture(): void {
    if (this.#state === 'Stable' || this.#state === 'CompletingRebalance') this.#rebalance();
    else this.#completeIfAllJoined();
    if (this.isUnused && this.#state !== 'Dead') this.#emptied(this);
  }

  #setDeadline(delayMs: number, task: () => void): void {
    this.#cancelDeadline();
    this.#deadline = this.#clock.after(delayMs, task);
  }

  #cancelDeadline(): void {
    this.#deadline?.cancel();
    this.#deadline = null;
  }

  // ----------------------------------------------------------------------------------------------- answers

  #joinAnswer(memberId: string): JoinResult {
    const isLeader = memberId === this.#leader;
    return {
      errorCode: NONE,
      generationId: this.#generation,
      protocolType: this.#protocolType,
      protocolName: this.#protocolName,
      leader: this.#leader ?? '',
      memberId,
      members: isLeader ? this.#subscriptions() : [],
    };
  }

  #subscriptions(): JoinResult['members'] {
    return [...this.members.values()].map((member) => ({
      memberId: member.id,
      groupInstanceId: member.groupInstanceId,
      metadata: member.metadataFor(this.#protocolName),
    }));
  }

  #syncAnswer(member: GroupMember): SyncResult {
    return {
      errorCode: NONE,
      protocolType: this.#protocolType,
      protocolName: this.#protocolName,
      assignment: member.assignment,
    };
  }
}
