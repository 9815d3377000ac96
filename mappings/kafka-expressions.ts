/**
 * Regular expressions over the names of topics, as operators write them for what a bridge reads. Only those whose worst case is
 * known are taken (`bounded-regex.ts`): each is compared with every topic that there is, on the event loop. Pure.
 */

import { waysOf } from './bounded-regex.ts';
import { TOPIC_NAME_CHARS_MAX } from './kafka.ts';

/** As many ways to match one name as two repeats without an end have, and something beside. */
const WAYS_MAX = 4 * (TOPIC_NAME_CHARS_MAX + 1) ** 2;
const EXPRESSION_CHARS_MAX = 4 * TOPIC_NAME_CHARS_MAX + 2;

/** Throws Error with a text for people. */
export function topicExpression(expression: string): RegExp {
  const refuse = (reason: string): never => {
    throw new Error(`/${expression}/: ${reason}`);
  };
  if (expression.length > EXPRESSION_CHARS_MAX) refuse(`at most ${EXPRESSION_CHARS_MAX} characters`);
  if (waysOf(expression, { textCharsMax: TOPIC_NAME_CHARS_MAX, isWhole: false }, refuse) > WAYS_MAX) {
    refuse(
      'it could take too long: at most two repeats without an end, one where it does not begin with ^, and few ' +
        'alternatives beside them',
    );
  }
  try {
    return new RegExp(expression);
  } catch {
    return refuse('it is no regular expression');
  }
}
