/**
 * Finds the groups, makes them when a member comes and forgets them when the last one is gone: what outlives the
 * members are committed offsets, and those are the core's. Checks what concerns no single group: names, timeouts and
 * how many there may be. One for the adapter.
 */

import type { Clock, Core, GroupMember, GroupMembership } from '../../../src/core/index.ts';
import { ERRORS, NONE } from '../errors.ts';
import type { KafkaSettings } from '../settings.ts';
import { Group, type JoinRequest, type MemberClaimed } from './group.ts';
import { type JoinResult, NO_ASSIGNMENT, type SyncResult } from './group-member.ts';

/** Bytes of a group id; the core keeps no offsets under longer names. */
const GROUP_ID_BYTES_MAX = 255;

export class GroupCoordinator implements GroupMembership {
  readonly #core: Core;
  readonly #clock: Clock;
  readonly #settings: KafkaSettings;
  readonly #groups = new Map<string, Group>();
  readonly #unfollow: () => void;

  constructor(core: Core, clock: Clock, settings: KafkaSettings) {
    this.#core = core;
    this.#clock = clock;
    this.#settings = settings;
    this.#unfollow = core.cursors.follow(this);
  }

  get(groupId: string): Group | undefined {
    return this.#groups.get(groupId);
  }

  groups(): Iterable<string> {
    return this.#groups.keys();
  }

  *members(groupId: string): Iterable<GroupMember> {
    for (const { id, clientId, clientHost } of this.#groups.get(groupId)?.members.values() ?? []) {
      yield { id, clientId, address: clientHost };
    }
  }

  /** Names of all groups that have members or committed offsets. */
  names(): Set<string> {
    const names = new Set(this.#groups.keys());
    for (const name of this.#core.cursors.groups()) names.add(name);
    return names;
  }

  hasOffsets(groupId: string): boolean {
    for (const _ of this.#core.cursors.list(groupId)) return true;
    return false;
  }

  join(groupId: string, request: JoinRequest, answer: (result: JoinResult) => void): void {
    const refuse = (errorCode: number): void =>
      answer({
        errorCode,
        generationId: -1,
        protocolType: null,
        protocolName: '',
        leader: '',
        memberId: request.memberId,
        members: [],
      });
    if (!isGroupId(groupId)) {
      refuse(ERRORS.INVALID_GROUP_ID.code);
      return;
    }
    const { groupSessionTimeoutMinMs, groupSessionTimeoutMaxMs, groupsMax } = this.#settings;
    const { sessionTimeoutMs } = request;
    if (sessionTimeoutMs < groupSessionTimeoutMinMs || sessionTimeoutMs > groupSessionTimeoutMaxMs) {
      refuse(ERRORS.INVALID_SESSION_TIMEOUT.code);
      return;
    }
    let group = this.#groups.get(groupId);
    if (group === undefined) {
      if (request.memberId !== '') {
        refuse(ERRORS.UNKNOWN_MEMBER_ID.code);
        return;
      }
      if (this.#groups.size >= groupsMax) {
        refuse(ERRORS.COORDINATOR_NOT_AVAILABLE.code);
        return;
      }
      group = new Group(groupId, this.#clock, this.#settings, this.#forget);
      this.#groups.set(groupId, group);
    }
    group.join(request, answer);
    if (group.isUnused) this.#forget(group);
  }

  sync(
    groupId: string,
    claimed: MemberClaimed,
    generation: number,
    protocol: { readonly type: string | null; readonly name: string | null },
    assignments: readonly { readonly memberId: string; readonly assignment: Buffer }[],
    answer: (result: SyncResult) => void,
  ): void {
    const group = this.#groups.get(groupId);
    if (group !== undefined) {
      group.sync(claimed, generation, protocol, assignments, answer);
      return;
    }
    answer({
      errorCode: isGroupId(groupId) ? ERRORS.UNKNOWN_MEMBER_ID.code : ERRORS.INVALID_GROUP_ID.code,
      protocolType: null,
      protocolName: null,
      assignment: NO_ASSIGNMENT,
    });
  }

  heartbeat(groupId: string, claimed: MemberClaimed, generation: number): number {
    return this.#groups.get(groupId)?.heartbeat(claimed, generation) ?? this.#unknown(groupId);
  }

  leave(groupId: string, claimed: MemberClaimed): number {
    return this.#groups.get(groupId)?.leave(claimed) ?? this.#unknown(groupId);
  }

  /** Whether offsets may be committed. Groups without members take those of readers that are in none. */
  checkCommit(groupId: string, claimed: MemberClaimed, generation: number): number {
    if (!isGroupId(groupId)) return ERRORS.INVALID_GROUP_ID.code;
    const group = this.#groups.get(groupId);
    if (group !== undefined) return group.checkCommit(claimed, generation);
    return generation < 0 ? NONE : ERRORS.ILLEGAL_GENERATION.code;
  }

  /** Forgets a group without members, with its offsets. Durable when `core.whenStored` says so. */
  delete(groupId: string): number {
    const group = this.#groups.get(groupId);
    if (group !== undefined && group.members.size > 0) return ERRORS.NON_EMPTY_GROUP.code;
    if (group === undefined && !this.hasOffsets(groupId)) return ERRORS.GROUP_ID_NOT_FOUND.code;
    if (group !== undefined) this.#forget(group);
    this.#core.cursors.remove(groupId, null, null);
    return NONE;
  }

  close(): void {
    this.#unfollow();
    for (const group of [...this.#groups.values()]) this.#forget(group);
  }

  readonly #forget = (group: Group): void => {
    if (this.#groups.get(group.id) === group) this.#groups.delete(group.id);
    if (group.state !== 'Dead') group.die();
  };

  #unknown(groupId: string): number {
    return isGroupId(groupId) ? ERRORS.UNKNOWN_MEMBER_ID.code : ERRORS.INVALID_GROUP_ID.code;
  }
}

function isGroupId(groupId: string): boolean {
  return groupId !== '' && Buffer.byteLength(groupId) <= GROUP_ID_BYTES_MAX;
}
