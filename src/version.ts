/** The product's version, from package.json: one place for it, found from the sources and from the built package. */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder that holds package.json: that of the sources, or that above `dist`. */
function findPackage(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('package.json of the gateway is missing');
    folder = parent;
  }
  return folder;
}

const manifest = JSON.parse(readFileSync(join(findPackage(), 'package.json'), 'utf8')) as { version: string };

export const VERSION = manifest.version;
