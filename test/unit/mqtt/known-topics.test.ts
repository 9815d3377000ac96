/** Topics that come again are known by their bytes: one text for each, and never another one's. */
import { describe, expect, it, vi } from 'vitest';
import {
  addressAt,
  KNOWN_BYTES_MAX,
  placeOfTopic,
  plainLevelsAt,
  topicAt,
} from '../../../adapters/mqtt/codec/known-topics.ts';
import { PublishFrame } from '../../../adapters/mqtt/codec/publish.ts';

vi.mock('../../../adapters/mqtt/codec/known-topics.ts', { spy: true });

const find = (topic: string, likely = 0): number => {
  const buffer = Buffer.from(`>${topic}<`);
  const place = placeOfTopic(buffer, 1, buffer.length - 1, likely);
  buffer.fill(0xee);
  return place;
};

describe('a topic that comes again', () => {
  it('is itself, however many others come between', () => {
    // More than there are places, so that nearly all share theirs.
    const topics = Array.from({ length: 10_000 }, (_, index) => `devices/${index}/%2B`);
    let last = 0;
    const read = [...topics, ...topics].map((topic) => {
      last = find(topic, last);
      return { topic: topicAt(last), address: addressAt(last), levels: plainLevelsAt(last) };
    });
    expect(read).toEqual(
      read.map((_, at) => ({
        topic: topics[at % topics.length],
        address: `devices/${at % topics.length}/+`,
        levels: 3,
      })),
    );
  });

  it('has the place that it had, as nearly all of a thousand have', () => {
    const topics = Array.from({ length: 1000 }, (_, index) => `räume/${index}`);
    // Those of the test before give way one after the other.
    for (let times = 10; times > 0; times--) for (const topic of topics) find(topic);
    const places = topics.map((topic) => find(topic));
    const moved = topics.filter((topic, index) => find(topic) !== places[index]);
    expect(moved.length).toBeLessThan(50);
  });

  it.each(['$SYS/a', '$', '$queue/q/a/b'])('has no plain levels as %s', (topic) => {
    expect(plainLevelsAt(find(topic))).toBe(0);
  });

  it.each([
    ['a', 1],
    ['/', 2],
    ['a/$b//', 4],
    ['/'.repeat(KNOWN_BYTES_MAX), KNOWN_BYTES_MAX + 1],
  ])('has the levels of %s', (topic, levels) => {
    expect(plainLevelsAt(find(topic))).toBe(levels);
  });

  it.each(['a/+', '#', 'a\0', Buffer.from([0xff]).toString('latin1')])(
    'is refused each time as %j',
    (text) => {
      const bytes = Buffer.from(text, 'latin1');
      for (let times = 2; times > 0; times--) {
        expect(() => placeOfTopic(bytes, 0, bytes.length, 0)).toThrow();
      }
    },
  );
});

describe('two connections', () => {
  const publish = (topic: string): Buffer => {
    const bytes = Buffer.from(topic);
    return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes, Buffer.from('body')]);
  };
  const read = (frame: PublishFrame, topic: string): string => {
    const packet = publish(topic);
    frame.read(4, 0x30, packet, 0, packet.length);
    return `${frame.topic} ${frame.address} ${frame.plainLevels}`;
  };

  it('look for a topic once that lost its place to the other', () => {
    const [one, other] = [new PublishFrame(), new PublishFrame()];
    read(one, 'mine/1');
    for (let index = 0; index < 60_000; index++) read(other, `other/${index}`);
    read(one, 'mine/1');
    vi.mocked(placeOfTopic).mockClear();
    read(one, 'mine/1');
    const [likely, place] = [
      vi.mocked(placeOfTopic).mock.calls[0]?.[3],
      vi.mocked(placeOfTopic).mock.results[0]?.value,
    ];
    expect(likely).toBe(place);
  });

  it('read their own topics, though each takes the places of the other', () => {
    const [one, other] = [new PublishFrame(), new PublishFrame()];
    const texts: string[] = [];
    const expected: string[] = [];
    for (let index = 0; index < 20_000; index++) {
      // The first comes back to one topic again and again, and to long ones, which have no place.
      const topic = index % 7 === 0 ? `${'long/'.repeat(60)}${index % 3}` : `one/${index % 2}`;
      texts.push(read(one, topic), read(other, `other/${index}`));
      expected.push(`${topic} ${topic} ${topic.length > KNOWN_BYTES_MAX ? 0 : 2}`);
      expected.push(`other/${index} other/${index} 2`);
    }
    expect(texts).toEqual(expected);
  });
});
