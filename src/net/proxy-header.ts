/**
 * Reads what a proxy writes in front of a connection to tell whose it is: the PROXY protocol, versions 1 and 2, as
 * published by HAProxy (proxy-protocol.txt, 2020/03/05). Pure; called by `proxy-stage.ts` each time bytes come. Strict:
 * what the document does not allow is refused, and no header may be longer than HEADER_BYTES_MAX. Source addresses that
 * are none of TCP's (UNKNOWN, UNSPEC, LOCAL) say nothing about the client, and the connection's own count.
 *
 * | version 1 | one line, 107 bytes at most |
 * |---|---|
 * | `PROXY` SP `TCP4` or `TCP6` SP source SP destination SP port SP port CR LF | |
 * | `PROXY UNKNOWN` anything CR LF | |
 *
 * | version 2: offset | bytes | |
 * |---|---|---|
 * | 0 | 12 | signature |
 * | 12 | 1 | version 2 (high half), command: 0 LOCAL, 1 PROXY |
 * | 13 | 1 | family (high half): 0 UNSPEC, 1 IPv4, 2 IPv6, 3 UNIX; transport: 0 UNSPEC, 1 STREAM, 2 DGRAM |
 * | 14 | 2 | bytes after this |
 * | 16 | 12, 36 or 216 | source and destination address, then their ports |
 * | … | | TLVs: type (1), length (2), value |
 */

import { isIPv4, isIPv6 } from 'node:net';
import { crc32c } from '@node-rs/crc32';

const LINE_BYTES_MAX = 107;
export const HEADER_BYTES_MAX = 4_096;

const LINE_START = Buffer.from('PROXY ');
const SIGNATURE = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
const FIXED_BYTES = 16;

const TLV_AUTHORITY = 0x02;
const TLV_CRC32C = 0x03;
const TLV_SSL = 0x20;
const SUBTYPE_SSL_CN = 0x22;
/** The client gave a certificate, on this connection or earlier in its session. */
const SSL_CLIENT_CERTIFICATE = 0x02 | 0x04;

/** What the proxy says about the connection that it took. */
export interface ProxyHeader {
  /** Bytes of the header; what follows belongs to the connection. */
  readonly bytes: number;
  /** Null: the connection's own addresses count. */
  readonly addresses: {
    readonly source: string;
    readonly sourcePort: number;
    readonly destination: string;
    readonly destinationPort: number;
  } | null;
  /** The name that the client asked for. */
  readonly authority: string | null;
  /** Common name of the client's certificate, which the proxy has verified. */
  readonly commonName: string | null;
}

/** No header, or none that the protocol allows; the connection cannot go on. */
export class ProxyHeaderError extends Error {
  override readonly name = 'ProxyHeaderError';
}

/** Null: more bytes are needed. Throws ProxyHeaderError as soon as no more bytes could make it right. */
export function readProxyHeader(bytes: Buffer): ProxyHeader | null {
  if (startsAs(bytes, SIGNATURE)) return bytes.length < FIXED_BYTES ? null : readVersion2(bytes);
  if (startsAs(bytes, LINE_START)) return readVersion1(bytes);
  throw new ProxyHeaderError('no PROXY header');
}

/** As far as there are bytes. */
function startsAs(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.compare(start, 0, length, 0, length) === 0;
}

function readVersion1(bytes: Buffer): ProxyHeader | null {
  const end = bytes.subarray(0, LINE_BYTES_MAX).indexOf('\r\n');
  if (end < 0) {
    if (bytes.length >= LINE_BYTES_MAX) throw new ProxyHeaderError('a PROXY line without an end');
    return null;
  }
  const header = { bytes: end + 2, authority: null, commonName: null };
  const line = bytes.toString('latin1', LINE_START.length, end);
  if (line === 'UNKNOWN' || line.startsWith('UNKNOWN ')) return { ...header, addresses: null };
  const [family, source = '', destination = '', sourcePort, destinationPort, ...more] = line.split(' ');
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isPlainIPv6 : null;
  if (isAddress === null) throw new ProxyHeaderError('a PROXY line of an unknown family');
  if (!isAddress(source) || !isAddress(destination) || more.length > 0) {
    throw new ProxyHeaderError('a PROXY line with wrong addresses');
  }
  const addresses = {
    source,
    sourcePort: readPort(sourcePort),
    destination,
    destinationPort: readPort(destinationPort),
  };
  return { ...header, addresses };
}

/** A zone (`%eth0`) has no meaning beyond the machine that wrote it. */
function isPlainIPv6(text: string): boolean {
  return isIPv6(text) && !text.includes('%');
}

/** No sign, no leading zero. */
function readPort(text: string | undefined): number {
  const port = text !== undefined && /^(0|[1-9][0-9]{0,4})$/.test(text) ? Number(text) : -1;
  if (port < 0 || port > 65_535) throw new ProxyHeaderError('a PROXY line with a wrong port');
  return port;
}

function readVersion2(bytes: Buffer): ProxyHeader | null {
  const versionAndCommand = bytes.readUInt8(12);
  if (versionAndCommand !== 0x20 && versionAndCommand !== 0x21) {
    throw new ProxyHeaderError('a PROXY header of an unknown version or command');
  }
  const end = FIXED_BYTES + bytes.readUInt16BE(14);
  if (end > HEADER_BYTES_MAX) throw new ProxyHeaderError(`a PROXY header above ${HEADER_BYTES_MAX} bytes`);
  if (bytes.length < end) return null;
  // Sent by the proxy for itself, as when it looks whether this server is well: nothing behind it counts.
  if (versionAndCommand === 0x20) return { bytes: end, addresses: null, authority: null, commonName: null };
  const header = bytes.subarray(0, end);
  const { addresses, addressBytes } = readAddresses(header);
  return { bytes: end, addresses, ...readTlvs(header, FIXED_BYTES + addressBytes) };
}

function readAddresses(header: Buffer): {
  readonly addresses: ProxyHeader['addresses'];
  readonly addressBytes: number;
} {
  const family = header.readUInt8(13);
  const expect = (addressBytes: number): void => {
    if (header.length < FIXED_BYTES + addressBytes) {
      throw new ProxyHeaderError('a PROXY header too short for its addresses');
    }
  };
  switch (family) {
    case 0x11:
      expect(12);
      return {
        addresses: addressesAt(header, 4, (at) => header.subarray(at, at + 4).join('.')),
        addressBytes: 12,
      };
    case 0x21:
      expect(36);
      return { addresses: addressesAt(header, 16, (at) => showIPv6(header, at)), addressBytes: 36 };
    case 0x31:
      // Who connected over a socket file has no address to tell.
      expect(216);
      return { addresses: null, addressBytes: 216 };
    case 0x00:
      return { addresses: null, addressBytes: 0 };
    default:
      throw new ProxyHeaderError('a PROXY header of an unknown family or of datagrams');
  }
}

function addressesAt(
  header: Buffer,
  bytes: 4 | 16,
  show: (at: number) => string,
): NonNullable<ProxyHeader['addresses']> {
  const ports = FIXED_BYTES + 2 * bytes;
  return {
    source: show(FIXED_BYTES),
    destination: show(FIXED_BYTES + bytes),
    sourcePort: header.readUInt16BE(ports),
    destinationPort: header.readUInt16BE(ports + 2),
  };
}

/** As `node:net` writes them, with the longest run of zeros left out (RFC 5952); an IPv4 address in one as IPv4. */
function showIPv6(header: Buffer, at: number): string {
  const groups = Array.from({ length: 8 }, (_, index) => header.readUInt16BE(at + 2 * index).toString(16));
  if (groups.slice(0, 5).every((group) => group === '0') && groups[5] === 'ffff') {
    return header.subarray(at + 12, at + 16).join('.');
  }
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

/** The header ends with them, one behind the other, with nothing left over. */
function readTlvs(
  header: Buffer,
  start: number,
): { readonly authority: string | null; readonly commonName: string | null } {
  let authority: string | null = null;
  let commonName: string | null = null;
  let hasChecksum = false;
  for (const { type, value, at } of eachTlv(header, start, header.length)) {
    if (type === TLV_AUTHORITY) authority = value.toString('utf8');
    else if (type === TLV_SSL) commonName = readCommonName(value);
    else if (type === TLV_CRC32C) {
      if (hasChecksum) throw new ProxyHeaderError('a PROXY header with two checksums');
      hasChecksum = true;
      checkCrc32c(header, value, at);
    }
  }
  return { authority, commonName };
}

function* eachTlv(
  bytes: Buffer,
  start: number,
  end: number,
): Generator<{ readonly type: number; readonly value: Buffer; readonly at: number }> {
  for (let at = start; at < end; ) {
    if (end - at < 3) throw new ProxyHeaderError('a PROXY header with a piece of a TLV');
    const length = bytes.readUInt16BE(at + 1);
    const valueAt = at + 3;
    if (valueAt + length > end) throw new ProxyHeaderError('a PROXY header with a TLV beyond its end');
    yield { type: bytes.readUInt8(at), value: bytes.subarray(valueAt, valueAt + length), at: valueAt };
    at = valueAt + length;
  }
}

/** 2.2.6: only of a certificate that the client gave and the proxy verified, which `verify` says with 0. */
function readCommonName(value: Buffer): string | null {
  if (value.length < 5) throw new ProxyHeaderError('a PROXY header with a TLS part too short');
  const isVerified = value.readUInt32BE(1) === 0 && (value.readUInt8(0) & SSL_CLIENT_CERTIFICATE) !== 0;
  let commonName: string | null = null;
  for (const part of eachTlv(value, 5, value.length)) {
    if (part.type === SUBTYPE_SSL_CN) commonName = part.value.toString('utf8');
  }
  return isVerified ? commonName : null;
}

/** Over the whole header, with zeros where the checksum stands. */
function checkCrc32c(header: Buffer, value: Buffer, at: number): void {
  if (value.length !== 4) throw new ProxyHeaderError('a PROXY header with a checksum of a wrong length');
  const copy = Buffer.from(header);
  copy.fill(0, at, at + 4);
  if (crc32c(copy) !== value.readUInt32BE(0))
    throw new ProxyHeaderError('a PROXY header with a wrong checksum');
}
