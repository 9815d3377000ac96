/**
 * `$queue/<queue>[/<filter>]`, `$dlq/<queue>[/<filter>]` and `$stream/<stream>[/<filter>]`: SUBSCRIBE and UNSUBSCRIBE. Asked by
 * `reserved-roots.ts`; what a connection subscribed to is in its `QueueFeeds`. Rules: docs/queues.md.
 */

import { Reason } from '../errors.ts';
import { QueueFeeds } from '../queues/feeds.ts';
import type { ReservedRoot } from './reserved-roots.ts';

const unsubscribe: ReservedRoot['unsubscribe'] = (context, filter) =>
  context.queues?.unsubscribe(filter) === true ? Reason.success : Reason.noSubscriptionExisted;

export const QUEUE_FILTERS: ReservedRoot = {
  subscribe(context, entry, packet) {
    context.queues ??= new QueueFeeds(context);
    return context.queues.subscribe(entry, packet);
  },
  unsubscribe,
};

export const STREAM_FILTERS: ReservedRoot = {
  subscribe(context, entry, packet) {
    context.queues ??= new QueueFeeds(context);
    return context.queues.subscribeStream(entry, packet);
  },
  unsubscribe,
};
