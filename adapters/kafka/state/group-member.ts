/**
 * One member of a consumer group: what it told when it joined, what it was assigned, and the answers that it waits
 * for. Its session timer runs whenever it waits for nothing, because a member that waits for the group is not late.
 */

import type { Clock, Timer } from '../../../src/core/index.ts';

export interface GroupProtocol {
  readonly name: string;
  readonly metadata: Buffer;
}

export interface JoinResult {
  readonly errorCode: number;
  readonly generationId: number;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly leader: string;
  readonly memberId: string;
  /** For the leader only. */
  readonly members: readonly {
    readonly memberId: string;
    readonly groupInstanceId: string | null;
    readonly metadata: Buffer;
  }[];
}

export interface SyncResult {
  readonly errorCode: number;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly assignment: Buffer;
}

/** What a join request says of a member. */
export interface MemberClaim {
  readonly clientId: string;
  readonly clientHost: string;
  readonly groupInstanceId: string | null;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly protocols: readonly GroupProtocol[];
}

export const NO_ASSIGNMENT: Buffer = Buffer.alloc(0);

export class GroupMember {
  id: string;
  readonly groupInstanceId: string | null;
  clientId: string;
  clientHost: string;
  sessionTimeoutMs: number;
  rebalanceTimeoutMs: number;
  protocols: readonly GroupProtocol[];
  assignment: Buffer = NO_ASSIGNMENT;
  #join: ((result: JoinResult) => void) | null = null;
  #sync: ((result: SyncResult) => void) | null = null;
  #timer: Timer | null = null;

  constructor(id: string, claim: MemberClaim) {
    this.id = id;
    this.groupInstanceId = claim.groupInstanceId;
    this.clientId = claim.clientId;
    this.clientHost = claim.clientHost;
    this.sessionTimeoutMs = claim.sessionTimeoutMs;
    this.rebalanceTimeoutMs = claim.rebalanceTimeoutMs;
    this.protocols = claim.protocols;
  }

  get isJoining(): boolean {
    return this.#join !== null;
  }

  get isSyncing(): boolean {
    return this.#sync !== null;
  }

  /** Bytes that the group keeps for it. */
  get bytes(): number {
    return bytesOf(this.protocols) + this.assignment.length;
  }

  /** Takes over what a join request says. Bytes are copied: the request's buffer is not kept alive. */
  update(claim: MemberClaim): void {
    this.clientId = claim.clientId;
    this.clientHost = claim.clientHost;
    this.sessionTimeoutMs = claim.sessionTimeoutMs;
    this.rebalanceTimeoutMs = claim.rebalanceTimeoutMs;
    this.protocols = claim.protocols;
  }

  supports(protocol: string): boolean {
    return this.protocols.some(({ name }) => name === protocol);
  }

  metadataFor(protocol: string | null): Buffer {
    return this.protocols.find(({ name }) => name === protocol)?.metadata ?? NO_ASSIGNMENT;
  }

  hasProtocols(protocols: readonly GroupProtocol[]): boolean {
    return (
      protocols.length === this.protocols.length &&
      protocols.every(({ name, metadata }, i) => {
        const mine = this.protocols[i] as GroupProtocol;
        return mine.name === name && mine.metadata.equals(metadata);
      })
    );
  }

  /** An earlier join that still waits is answered by whoever calls this. */
  awaitJoin(answer: (result: JoinResult) => void): void {
    this.stopTimer();
    this.#join = answer;
  }

  awaitSync(answer: (result: SyncResult) => void): void {
    this.stopTimer();
    this.#sync = answer;
  }

  /** Does nothing where no answer is waited for. */
  answerJoin(result: JoinResult): void {
    const answer = this.#join;
    this.#join = null;
    answer?.(result);
  }

  answerSync(result: SyncResult): void {
    const answer = this.#sync;
    this.#sync = null;
    answer?.(result);
  }

  /** Begins the session anew; `late` runs if nothing is heard of the member until it ends. */
  startTimer(clock: Clock, late: () => void): void {
    this.stopTimer();
    this.#timer = clock.after(this.sessionTimeoutMs, late);
  }

  stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }
}

export function bytesOf(protocols: readonly GroupProtocol[]): number {
  let bytes = 0;
  for (const { name, metadata } of protocols) bytes += name.length + metadata.length;
  return bytes;
}

/** Every member votes for the first of its protocols that all have. */
export function chooseProtocol(members: readonly GroupMember[]): string {
  const votes = new Map<string, number>();
  for (const member of members) {
    const vote = member.protocols.find(({ name }) => members.every((each) => each.supports(name)));
    if (vote !== undefined) votes.set(vote.name, (votes.get(vote.name) ?? 0) + 1);
  }
  let chosen = '';
  for (const [name, count] of votes) if (chosen === '' || count > (votes.get(chosen) ?? 0)) chosen = name;
  return chosen;
}
