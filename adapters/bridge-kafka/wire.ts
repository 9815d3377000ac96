/**
 * The requests that this driver makes, each in the versions that it can speak, newest first. The client library writes and
 * reads them; its clients for producing and consuming are not used (docs/decisions tells why). Which version is spoken is decided
 * for each connection by what its broker offers.
 */

import * as kafka from '@platformatic/kafka';
import { GATEWAY_FEATURE } from '../../mappings/kafka-peers.ts';
import { responseOf } from './errors.ts';

export type Versions<Arguments extends unknown[], Response> = readonly kafka.API<Arguments, Response>[];

type Everything = Readonly<Record<string, { readonly api?: unknown } | undefined>>;

/** From `newest` down to `oldest`. The library gives all versions of a request the same arguments and answers. */
function versionsOf<Arguments extends unknown[], Response>(
  newest: kafka.API<Arguments, Response>,
  name: string,
  oldest: number,
): Versions<Arguments, Response> {
  const versions: kafka.API<Arguments, Response>[] = [];
  for (let version = newest.version; version >= oldest; version--) {
    const api = (kafka as unknown as Everything)[`${name}V${version}`]?.api;
    if (api !== undefined) versions.push(api as kafka.API<Arguments, Response>);
  }
  return versions;
}

export const METADATA = versionsOf(kafka.metadataV12.api, 'metadata', 4);
export const FIND_COORDINATOR = versionsOf(kafka.findCoordinatorV6.api, 'findCoordinator', 1);
export const CREATE_TOPICS = versionsOf(kafka.createTopicsV7.api, 'createTopics', 2);

export const PRODUCE = versionsOf(kafka.produceV11.api, 'produce', 3);
export const INIT_PRODUCER_ID = versionsOf(kafka.initProducerIdV4.api, 'initProducerId', 0);
/** Later versions are for brokers among themselves or for another course of transactions. */
export const ADD_PARTITIONS_TO_TXN = versionsOf(kafka.addPartitionsToTxnV3.api, 'addPartitionsToTxn', 0);
export const ADD_OFFSETS_TO_TXN = versionsOf(kafka.addOffsetsToTxnV3.api, 'addOffsetsToTxn', 0);
export const TXN_OFFSET_COMMIT = versionsOf(kafka.txnOffsetCommitV3.api, 'txnOffsetCommit', 0);
/** Brokers have it since 3.0. */
export const DESCRIBE_TRANSACTIONS = versionsOf(kafka.describeTransactionsV0.api, 'describeTransactions', 0);
export const END_TXN = versionsOf(kafka.endTxnV3.api, 'endTxn', 0);

/** From 7 on an answer waits for the end of transactions that are under way. */
export const STABLE_OFFSET_FETCH = versionsOf(kafka.offsetFetchV8.api, 'offsetFetch', 7);
export const OFFSET_FETCH = versionsOf(kafka.offsetFetchV8.api, 'offsetFetch', 2);
export const OFFSET_COMMIT = versionsOf(kafka.offsetCommitV8.api, 'offsetCommit', 2);
export const LIST_OFFSETS = versionsOf(kafka.listOffsetsV7.api, 'listOffsets', 1);
/** Later versions name topics by their ids. */
export const FETCH = versionsOf(kafka.fetchV12.api, 'fetch', 4);
export const JOIN_GROUP = versionsOf(kafka.joinGroupV9.api, 'joinGroup', 0);
export const SYNC_GROUP = versionsOf(kafka.syncGroupV5.api, 'syncGroup', 0);
export const HEARTBEAT = versionsOf(kafka.heartbeatV4.api, 'heartbeat', 0);
export const LEAVE_GROUP = versionsOf(kafka.leaveGroupV5.api, 'leaveGroup', 0);

/** What a broker offers: by number of the request, lowest and highest version. */
export type Offer = ReadonlyMap<number, readonly [lowest: number, highest: number]>;

const SOFTWARE = 'rosettamq';
/** Brokers refuse an empty one; it says nothing of this gateway's own. */
const SOFTWARE_VERSION = '1';
/** Later versions may be laid out otherwise; from 3 on a broker names its features. */
const FEATURES = versionsOf(kafka.apiVersionsV4.api, 'apiVersions', 3);

/** Asked once for each connection. Version 1 is understood by every broker of the last years. */
export async function askOffer(connection: kafka.Connection): Promise<Offer> {
  const { apiKeys } = await kafka.apiVersionsV1.api.async(connection, SOFTWARE, '');
  return new Map(apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, [minVersion, maxVersion]]));
}

/** Whether the broker says that it is a gateway like this. */
export async function askWhetherGateway(connection: kafka.Connection, offer: Offer): Promise<boolean> {
  const api = chooseVersion(FEATURES, offer);
  if (api === null) return false;
  try {
    const { supportedFeatures } = await api.async(connection, SOFTWARE, SOFTWARE_VERSION);
    return (supportedFeatures ?? []).some(({ name }) => name === GATEWAY_FEATURE.name);
  } catch (error) {
    // Whoever refuses the question is none.
    if (responseOf(error) !== null) return false;
    throw error;
  }
}

/** Null: the broker and this driver have no version in common. */
export function chooseVersion<Arguments extends unknown[], Response>(
  versions: Versions<Arguments, Response>,
  offer: Offer,
): kafka.API<Arguments, Response> | null {
  const range = offer.get(versions[0]?.key ?? -1);
  if (range === undefined) return null;
  return versions.find(({ version }) => version >= range[0] && version <= range[1]) ?? null;
}
