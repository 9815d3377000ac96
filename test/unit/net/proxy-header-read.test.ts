/** The PROXY protocol, versions 1 and 2, read to the letter: what proxies send, and what nobody may. */
import { describe, expect, it } from 'vitest';
import { HEADER_BYTES_MAX, ProxyHeaderError, readProxyHeader } from '../../../src/net/proxy-header.ts';
import { header2, ipv4, ipv6, tlsTlv, tlv } from '../../support/proxy-headers.ts';

const ADDRESSES = {
  source: '192.0.2.1',
  sourcePort: 40_000,
  destination: '198.51.100.2',
  destinationPort: 1883,
};
const NOTHING = { addresses: null, authority: null, commonName: null };
const read = (text: string) => readProxyHeader(Buffer.from(text, 'latin1'));

describe('version 1', () => {
  it('tells both ends of TCP over IPv4 and IPv6', () => {
    const line = 'PROXY TCP4 192.0.2.1 198.51.100.2 40000 1883\r\n';
    expect(read(`${line}rest`)).toEqual({ ...NOTHING, bytes: line.length, addresses: ADDRESSES });
    expect(read('PROXY TCP6 2001:db8::1 ::1 0 65535\r\n')?.addresses).toEqual({
      source: '2001:db8::1',
      sourcePort: 0,
      destination: '::1',
      destinationPort: 65_535,
    });
  });

  it('may say that it does not know', () => {
    expect(read('PROXY UNKNOWN\r\n')).toEqual({ ...NOTHING, bytes: 15 });
    expect(read('PROXY UNKNOWN ffff::1 whatever 1 2\r\n')).toMatchObject(NOTHING);
  });

  it('of every length so far waits for more', () => {
    const line = 'PROXY TCP4 192.0.2.1 198.51.100.2 40000 1883\r\n';
    for (let length = 0; length < line.length; length++) expect(read(line.slice(0, length))).toBeNull();
  });

  it.each([
    'GET / HTTP/1.1\r\n',
    'PROXY  TCP4 192.0.2.1 198.51.100.2 40000 1883\r\n',
    'PROXY TCP5 192.0.2.1 198.51.100.2 40000 1883\r\n',
    'PROXY tcp4 192.0.2.1 198.51.100.2 40000 1883\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.2 40000\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.2 40000 1883 \r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.2 040000 1883\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.2 65536 1883\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.2 +1 1883\r\n',
    'PROXY TCP4 192.0.2.256 198.51.100.2 1 1883\r\n',
    'PROXY TCP4 2001:db8::1 ::1 1 2\r\n',
    'PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n',
    'PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n',
    'PROXY UNKNOWNS\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.2 40000 1883\n\r\n',
    `PROXY UNKNOWN ${'x'.repeat(100)}\r\n`,
    `PROXY UNKNOWN ${'x'.repeat(200)}`,
    'proxy',
    'PROXIES',
    '\r\n\r\nQUIT',
  ])('%j is refused', (text) => {
    expect(() => read(text)).toThrow(ProxyHeaderError);
  });
});

describe('version 2', () => {
  it('tells both ends of TCP over IPv4 and IPv6', () => {
    const header = header2({});
    expect(readProxyHeader(Buffer.concat([header, Buffer.from('rest')]))).toEqual({
      ...NOTHING,
      bytes: 28,
      addresses: ADDRESSES,
    });
    expect(readProxyHeader(header2({ family: 0x21, addresses: ipv6() }))?.addresses).toEqual({
      source: '2001:db8::1',
      sourcePort: 40_000,
      destination: '2001:db8::2',
      destinationPort: 1883,
    });
  });

  it('shows an IPv4 address inside IPv6 as IPv4', () => {
    const addresses = ipv6();
    addresses.fill(0, 0, 16).writeUInt16BE(0xffff, 10);
    addresses.set([192, 0, 2, 9], 12);
    expect(readProxyHeader(header2({ family: 0x21, addresses }))?.addresses?.source).toBe('192.0.2.9');
  });

  it('of every length so far waits for more', () => {
    const header = header2({ tlvs: [tlsTlv('device')], checksum: true });
    for (let length = 0; length < header.length; length++) {
      expect(readProxyHeader(header.subarray(0, length))).toBeNull();
    }
    expect(readProxyHeader(header)?.bytes).toBe(header.length);
  });

  it('of the proxy itself, of no family or of a socket file leaves the addresses as they are', () => {
    expect(readProxyHeader(header2({ command: 0x20, family: 0, addresses: Buffer.alloc(0) }))).toEqual({
      ...NOTHING,
      bytes: 16,
    });
    expect(readProxyHeader(header2({ command: 0x20 }))).toEqual({ ...NOTHING, bytes: 28 });
    expect(readProxyHeader(header2({ family: 0, addresses: Buffer.alloc(0) }))).toEqual({
      ...NOTHING,
      bytes: 16,
    });
    expect(readProxyHeader(header2({ family: 0x31, addresses: Buffer.alloc(216) }))?.addresses).toBeNull();
  });

  it('tells the name that the client asked for and that of its verified certificate', () => {
    const tlvs = [
      tlv(0x02, Buffer.from('broker.example.com')),
      tlv(0xea, Buffer.from('aws')),
      tlsTlv('device-1'),
    ];
    expect(readProxyHeader(header2({ tlvs, checksum: true }))).toMatchObject({
      authority: 'broker.example.com',
      commonName: 'device-1',
    });
  });

  it('of a certificate that was not verified, or not given, tells no name', () => {
    expect(readProxyHeader(header2({ tlvs: [tlsTlv('device-1', 1)] }))?.commonName).toBeNull();
    expect(readProxyHeader(header2({ tlvs: [tlsTlv('device-1', 0, 1)] }))?.commonName).toBeNull();
  });

  it.each([
    ['an unknown version', header2({ command: 0x31 })],
    ['an unknown command', header2({ command: 0x22 })],
    ['datagrams', header2({ family: 0x12 })],
    ['an unknown family', header2({ family: 0x41 })],
    ['too few addresses', header2({ addresses: ipv4().subarray(1) })],
    ['IPv6 addresses that are short', header2({ family: 0x21 })],
    ['a piece of a TLV', header2({ tlvs: [Buffer.from([1, 0])] })],
    ['a TLV beyond its end', header2({ tlvs: [Buffer.from([1, 0, 2, 0])] })],
    ['a short TLS part', header2({ tlvs: [tlv(0x20, Buffer.alloc(4))] })],
    ['a checksum of a wrong length', header2({ tlvs: [tlv(0x03, Buffer.alloc(3))] })],
    ['a wrong checksum', header2({ tlvs: [tlv(0x03, Buffer.alloc(4))] })],
    ['two checksums', header2({ tlvs: [tlv(0x03, Buffer.alloc(4))], checksum: true })],
    ['too many bytes', header2({ tlvs: [tlv(0x04, Buffer.alloc(HEADER_BYTES_MAX))] })],
  ])('with %s is refused', (_, header) => {
    expect(() => readProxyHeader(header)).toThrow(ProxyHeaderError);
  });

  it('with a checksum that belongs to other bytes is refused', () => {
    const header = header2({ checksum: true });
    header[16] = 10;
    expect(() => readProxyHeader(header)).toThrow('a wrong checksum');
  });

  it('that is too long is refused before it is there', () => {
    const header = header2({ tlvs: [tlv(0x04, Buffer.alloc(HEADER_BYTES_MAX))] });
    expect(() => readProxyHeader(header.subarray(0, 16))).toThrow(ProxyHeaderError);
  });
});
