/** Names of objects in paths, for all routes, and which names of new ones are refused. */

import { Buffer } from 'node:buffer';
import Type from 'typebox';
import { DEAD_LETTER_ROOT } from '../core/index.ts';
import { notFound, problem } from './problems.ts';

/** Also of what cannot be made here, but may be there. */
export const nameParams = Type.Object({
  name: Type.String({ minLength: 1, description: 'Percent-encoded: `a/b` is `a%2Fb`.' }),
});

const DEFINITION_NAME_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$';
export const DEFINITION_NAME_RULE =
  'Letters, digits, `.`, `_` and `-`, at most 64, the first a letter or digit.';
/** Of what only operators name and no protocol shows. */
export const DEFINITION_NAME = new RegExp(DEFINITION_NAME_PATTERN);
export const definitionNameParams = Type.Object({
  name: Type.String({ pattern: DEFINITION_NAME_PATTERN, description: DEFINITION_NAME_RULE }),
});

/** The longest name that every protocol can say. */
const NAME_BYTES_MAX = 255;
const RESERVED_PREFIX = 'amq.';
const DEAD_LETTER_PREFIX = `${DEAD_LETTER_ROOT}/`;

export function found<Item>(item: Item | undefined, what: string, name: string): Item {
  if (item === undefined) throw notFound('/name', `there is no ${what} ${name}`);
  return item;
}

/** Throws a problem where nothing of this name may be made here. */
export function checkNewName(what: 'queue' | 'exchange', name: string): void {
  const refuse = (reason: string): never => {
    throw problem('invalid-request', 'path', '/name', reason);
  };
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) refuse(`is longer than ${NAME_BYTES_MAX} bytes`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (/[\u0000-\u001f\u007f]/.test(name)) refuse('has control characters');
  refuseReserved(what, name);
  const isDeadLetters = what === 'queue' && name.startsWith(DEAD_LETTER_PREFIX);
  if (name.startsWith('$') && !(isDeadLetters && name.length > DEAD_LETTER_PREFIX.length)) {
    refuse(`names that begin with $ belong to the gateway, except queues under ${DEAD_LETTER_PREFIX}`);
  }
}

/** Throws a problem for what is always there and never changes. */
export function refuseReserved(what: string, name: string): void {
  if (!name.startsWith(RESERVED_PREFIX)) return;
  throw problem(
    'access-refused',
    'path',
    '/name',
    `a ${what} whose name begins with ${RESERVED_PREFIX} is not made, changed or deleted here`,
  );
}
