/** `/v1/configuration`: every setting that applies and where its value comes from. Secrets are not in it. */

import Type from 'typebox';
import { nameParams } from './object-names.ts';
import type { AdminOptions } from './options.ts';
import { pageOf, pageQuery, paginate } from './paging.ts';
import { notFound } from './problems.ts';
import { problemResponse } from './schemas.ts';
import type { App } from './validation.ts';

const settingSchema = Type.Object({
  name: Type.String({ description: 'As in the file, with dots between.' }),
  value: Type.Unknown({ description: 'Null where it is a secret that is set.' }),
  isSecret: Type.Boolean(),
  origin: Type.String({ description: 'The file with its line, the variable or the flag; or `default`.' }),
});

export function addConfigurationRoutes(app: App, { settingsShown }: AdminOptions): void {
  const tags = ['configuration'];
  app.get(
    '/v1/configuration',
    {
      schema: {
        summary: 'List the settings that apply',
        tags,
        querystring: pageQuery,
        response: { 200: pageOf(settingSchema), '4xx': problemResponse },
      },
    },
    (request) =>
      paginate(
        settingsShown(),
        request.query,
        ({ name }) => name,
        (setting) => setting,
      ),
  );

  app.get(
    '/v1/configuration/:name',
    {
      schema: {
        summary: 'Get a setting',
        tags,
        params: nameParams,
        response: { 200: settingSchema, '4xx': problemResponse },
      },
    },
    ({ params }) => {
      for (const setting of settingsShown()) if (setting.name === params.name) return setting;
      throw notFound('/name', `there is no setting ${params.name}`);
    },
  );
}
