/** For routes that answer only when their change is on the disk. */

import type { Core } from '../core/index.ts';

/** Resolves when everything that was changed so far is durable; throws CoreError where it cannot be made so. */
export function whenStored(core: Core): Promise<void> {
  return new Promise((resolve, reject) => {
    core.whenStored((error) => (error === null ? resolve() : reject(error)));
  });
}
