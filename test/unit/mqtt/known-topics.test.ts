/** Topics that come again are known by their bytes: one text for each, and never another one's. */
import { expect, it } from 'vitest';
import { topicFromBytes } from '../../../adapters/mqtt/codec/known-topics.ts';

const found = (topic: string): { readonly topic: string; readonly address: string } => {
  const buffer = Buffer.from(`>${topic}<`);
  const { topic: read, address } = topicFromBytes(buffer, 1, buffer.length - 1);
  buffer.fill(0xee);
  return { topic: read, address };
};

it('is itself, however many others come between', () => {
  // More than there are places, so that nearly all share theirs.
  const topics = Array.from({ length: 10_000 }, (_, index) => `devices/${index}/%2B`);
  const read = [...topics, ...topics].map(found);
  expect(read).toEqual(
    read.map((_, at) => ({ topic: topics[at % topics.length], address: `devices/${at % topics.length}/+` })),
  );
});

it('is the same object where it came before', () => {
  const read = (text: string) => topicFromBytes(Buffer.from(text), 0, Buffer.byteLength(text));
  expect(read('räume/1')).toBe(read('räume/1'));
  expect(read('räume/1').topic).toBe('räume/1');
});

it('is refused each time where it is none', () => {
  const wrong = [
    Buffer.alloc(0),
    Buffer.from('a/+'),
    Buffer.from('#'),
    Buffer.from([0x61, 0]),
    Buffer.from([0xff]),
  ];
  for (const bytes of [...wrong, ...wrong]) expect(() => topicFromBytes(bytes, 0, bytes.length)).toThrow();
});
