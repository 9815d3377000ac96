/** Writes PROXY headers of version 2 as proxies do, and as they should not. */
import { crc32c } from '@node-rs/crc32';

const SIGNATURE = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);

export const tlv = (type: number, value: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 0xff]), value]);

/** `verify` 0: the proxy has verified the certificate; `client` 7: TLS, with a certificate on this connection. */
export const tlsTlv = (commonName: string, verify = 0, client = 7): Buffer =>
  tlv(
    0x20,
    Buffer.concat([
      Buffer.from([client, 0, 0, 0, verify]),
      tlv(0x21, Buffer.from('TLSv1.3')),
      tlv(0x22, Buffer.from(commonName)),
    ]),
  );

export function header2(options: {
  readonly command?: number;
  readonly family?: number;
  readonly addresses?: Uint8Array;
  readonly tlvs?: readonly Uint8Array[];
  readonly checksum?: boolean;
}): Buffer {
  const { command = 0x21, family = 0x11, addresses = ipv4(), tlvs = [], checksum = false } = options;
  const rest = Buffer.concat([addresses, ...tlvs, ...(checksum ? [tlv(0x03, Buffer.alloc(4))] : [])]);
  const fixed = Buffer.from([command, family, rest.length >> 8, rest.length & 0xff]);
  const header = Buffer.concat([SIGNATURE, fixed, rest]);
  if (checksum) header.writeUInt32BE(crc32c(header), header.length - 4);
  return header;
}

/** 192.0.2.1:40000 dialled 198.51.100.2:1883. */
export const ipv4 = (): Buffer => Buffer.from([192, 0, 2, 1, 198, 51, 100, 2, 0x9c, 0x40, 0x07, 0x5b]);

/** [2001:db8::1]:40000 dialled [2001:db8::2]:1883. */
export function ipv6(): Buffer {
  const addresses = Buffer.alloc(36);
  for (const [at, last] of [
    [0, 1],
    [16, 2],
  ] as const) {
    addresses.writeUInt32BE(0x20010db8, at);
    addresses[at + 15] = last;
  }
  addresses.writeUInt16BE(40_000, 32);
  addresses.writeUInt16BE(1883, 34);
  return addresses;
}
