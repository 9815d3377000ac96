/**
 * The APIs with which tools read and change the settings of topics and of the broker. Each version's layout is what
 * Kafka 4.3 documents (protocol guide); read by `compile.ts`.
 */

import {
  array,
  bool,
  defineApi,
  int8,
  int16,
  int32,
  nullableList,
  nullableString,
  string,
} from './schema.ts';

export const describeConfigsApi = defineApi(
  32,
  'DescribeConfigs',
  '1-4',
  '4+',
  [
    array('resources', '0+', [
      int8('resourceType', '0+'),
      string('resourceName', '0+'),
      nullableList('configurationKeys', '0+', 'string', { nullable: '0+' }),
    ]),
    bool('includeSynonyms', '1+'),
    bool('includeDocumentation', '3+'),
  ],
  [
    int32('throttleTimeMs', '0+'),
    array('results', '0+', [
      int16('errorCode', '0+'),
      nullableString('errorMessage', '0+', { nullable: '0+' }),
      int8('resourceType', '0+'),
      string('resourceName', '0+'),
      array('configs', '0+', [
        string('name', '0+'),
        nullableString('value', '0+', { nullable: '0+' }),
        bool('readOnly', '0+'),
        int8('configSource', '1+', { initial: -1 }),
        bool('isSensitive', '0+'),
        array('synonyms', '1+', [
          string('name', '1+'),
          nullableString('value', '1+', { nullable: '0+' }),
          int8('source', '1+'),
        ]),
        int8('configType', '3+'),
        nullableString('documentation', '3+', { nullable: '0+' }),
      ]),
    ]),
  ],
);

export const incrementalAlterConfigsApi = defineApi(
  44,
  'IncrementalAlterConfigs',
  '0-1',
  '1+',
  [
    array('resources', '0+', [
      int8('resourceType', '0+'),
      string('resourceName', '0+'),
      array('configs', '0+', [
        string('name', '0+'),
        int8('configOperation', '0+'),
        nullableString('value', '0+', { nullable: '0+' }),
      ]),
    ]),
    bool('validateOnly', '0+'),
  ],
  [
    int32('throttleTimeMs', '0+'),
    array('responses', '0+', [
      int16('errorCode', '0+'),
      nullableString('errorMessage', '0+', { nullable: '0+' }),
      int8('resourceType', '0+'),
      string('resourceName', '0+'),
    ]),
  ],
);

export const alterConfigsApi = defineApi(
  33,
  'AlterConfigs',
  '0-2',
  '2+',
  [
    array('resources', '0+', [
      int8('resourceType', '0+'),
      string('resourceName', '0+'),
      array('configs', '0+', [string('name', '0+'), nullableString('value', '0+', { nullable: '0+' })]),
    ]),
    bool('validateOnly', '0+'),
  ],
  [
    int32('throttleTimeMs', '0+'),
    array('responses', '0+', [
      int16('errorCode', '0+'),
      nullableString('errorMessage', '0+', { nullable: '0+' }),
      int8('resourceType', '0+'),
      string('resourceName', '0+'),
    ]),
  ],
);
