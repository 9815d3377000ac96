/**
 * The reader of PROXY headers under mutated input: whatever comes, it waits for more, gives a header that ends where its
 * bytes do, or throws ProxyHeaderError; and what it says of a beginning holds for the whole. Checksums are made right
 * after half of the mutations, so that these reach the code behind them.
 */
import { isIP } from 'node:net';
import { crc32c } from '@node-rs/crc32';
import { expect, it } from 'vitest';
import { HEADER_BYTES_MAX, ProxyHeaderError, readProxyHeader } from '../../../src/net/proxy-header.ts';
import { header2, ipv6, tlsTlv, tlv } from '../../support/proxy-headers.ts';

const INPUTS = Number(process.env.ROSETTAMQ_FUZZ_COUNT ?? 50_000);
const SEED = Number(process.env.ROSETTAMQ_FUZZ_SEED ?? Date.now() % 2 ** 31);
const CHECKSUM_TLV = Buffer.from([0x03, 0x00, 0x04]);
const TELLING = [0, 1, 2, 3, 0x0d, 0x0a, 0x11, 0x20, 0x21, 0x31, 0x7f, 0x80, 0xff];

/** Small and repeatable: the seed of a failure is printed. */
function randomSource(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const seeds = [
  Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.2 40000 1883\r\nrest'),
  Buffer.from('PROXY TCP6 2001:db8::1 ::1 40000 1883\r\n'),
  Buffer.from('PROXY UNKNOWN\r\n'),
  header2({}),
  header2({ command: 0x20, family: 0, addresses: Buffer.alloc(0) }),
  header2({ family: 0x21, addresses: ipv6(), tlvs: [tlv(0x02, Buffer.from('example.com'))], checksum: true }),
  header2({ tlvs: [tlsTlv('device'), tlv(0x04, Buffer.alloc(20))], checksum: true }),
  header2({ family: 0x31, addresses: Buffer.alloc(216) }),
];

function mutate(seed: Buffer, random: (below: number) => number): Buffer {
  let mutated: Buffer = Buffer.from(seed);
  for (let left = random(4); left > 0; left--) {
    const at = random(mutated.length + 1);
    switch (random(5)) {
      case 0:
        if (at < mutated.length) mutated[at] = TELLING[random(TELLING.length)] as number;
        break;
      case 1:
        if (at < mutated.length) mutated[at] = random(256);
        break;
      case 2:
        mutated = mutated.subarray(0, at);
        break;
      case 3:
        mutated = Buffer.concat([
          mutated.subarray(0, at),
          Buffer.alloc(random(40), random(256)),
          mutated.subarray(at),
        ]);
        break;
      default:
        mutated = Buffer.concat([
          mutated.subarray(0, at),
          mutated.subarray(Math.min(mutated.length, at + random(6))),
        ]);
    }
  }
  if (random(2) === 0) rightChecksum(mutated);
  return mutated;
}

function rightChecksum(header: Buffer): void {
  const at = header.lastIndexOf(CHECKSUM_TLV) + 3;
  if (at < 16 || at + 4 > header.length) return;
  header.writeUInt32BE(0, at);
  header.writeUInt32BE(crc32c(header), at);
}

/** The header, `null` for "more", or the reason of the refusal. */
function read(bytes: Buffer): ReturnType<typeof readProxyHeader> | string {
  try {
    return readProxyHeader(bytes);
  } catch (error) {
    if (error instanceof ProxyHeaderError) return error.message;
    throw error;
  }
}

it(`reads, waits or refuses: ${INPUTS} inputs, seed ${SEED}`, () => {
  const random = randomSource(SEED);
  const outcomes = { read: 0, more: 0, refused: 0 };
  for (let i = 0; i < INPUTS; i++) {
    const input = mutate(seeds[random(seeds.length)] as Buffer, random);
    const outcome = read(input);
    if (typeof outcome === 'string') outcomes.refused++;
    else if (outcome === null) {
      outcomes.more++;
      // More can always be waited for, but never more than a header may have.
      if (input.length >= HEADER_BYTES_MAX)
        throw new Error(`waits at ${input.length} bytes: ${input.toString('hex')}`);
    } else {
      outcomes.read++;
      const { bytes, addresses } = outcome;
      const isRight =
        bytes <= input.length &&
        (addresses === null ||
          (isIP(addresses.source) !== 0 &&
            isIP(addresses.destination) !== 0 &&
            addresses.sourcePort <= 65_535 &&
            addresses.destinationPort <= 65_535));
      if (!isRight) throw new Error(`wrong: ${JSON.stringify(outcome)} of ${input.toString('hex')}`);
      // Byte by byte it is the same, and not a byte earlier.
      if (i % 16 === 0) {
        for (let length = 0; length < bytes; length++) {
          if (read(input.subarray(0, length)) !== null) throw new Error(`early: ${input.toString('hex')}`);
        }
      }
    }
  }
  expect(Math.min(...Object.values(outcomes))).toBeGreaterThan(INPUTS / 100);
});
