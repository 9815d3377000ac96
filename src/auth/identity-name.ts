/** Which texts may name a user or a group, where somebody outside says so. */

/** Control characters in a name could only deceive those who read logs and rules. */
export function isName(text: string): boolean {
  return text !== '' && text.isWellFormed() && !/\p{Cc}/u.test(text);
}
