/** Every table of the codec. */

import * as config from '../../../adapters/kafka/codec/config-apis.ts';
import * as data from '../../../adapters/kafka/codec/data-apis.ts';
import * as discovery from '../../../adapters/kafka/codec/discovery-apis.ts';
import * as groupAdmin from '../../../adapters/kafka/codec/group-admin-apis.ts';
import * as group from '../../../adapters/kafka/codec/group-apis.ts';
import type { Api } from '../../../adapters/kafka/codec/schema.ts';
import * as topic from '../../../adapters/kafka/codec/topic-apis.ts';

export const ALL_APIS: readonly Api[] = Object.values({
  ...config,
  ...data,
  ...discovery,
  ...groupAdmin,
  ...group,
  ...topic,
});
