/** While no user is defined, the remote address decides who is let in, and nothing that the client says. */
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config/index.ts';
import { configShape } from '../../../src/main.ts';
import { readComposeFile } from '../../support/compose-file.ts';
import { openAuthWorld } from '../auth/auth-world.ts';

const password = { kind: 'password', user: 'ann', password: Buffer.from('x') } as const;
const none = { file: '/dev/null', environment: {}, assignments: [], flags: {} };

async function userFrom(remoteAddress: string, environment: Record<string, string> = {}): Promise<unknown> {
  const { auth } = loadConfig(configShape, { ...none, environment }).host;
  const origin = {
    listener: 'any',
    remoteAddress,
    localAddress: '127.0.0.1',
    certificate: null,
    clientId: '',
  };
  const { authenticator } = await openAuthWorld(auth);
  const principal = await authenticator.authenticate(password, origin);
  return principal === null ? null : (principal as { user: string }).user;
}

describe('by default', () => {
  it.each(['127.0.0.1', '127.8.9.10', '::1'])(
    '%s is this machine and let in as who it says',
    async (address) => {
      expect(await userFrom(address)).toBe('ann');
    },
  );

  it.each(['192.168.1.2', '10.0.0.1', '128.0.0.1', '::2', 'fe80::1', '', 'localhost'])(
    '%j is refused',
    async (address) => {
      expect(await userFrom(address)).toBe(null);
    },
  );

  it('anonymous clients have no name', async () => {
    const { auth } = loadConfig(configShape, none).host;
    const origin = {
      listener: 'any',
      remoteAddress: '127.0.0.1',
      localAddress: '127.0.0.1',
      certificate: null,
      clientId: '',
    };
    const { authenticator } = await openAuthWorld(auth);
    expect(await authenticator.authenticate({ kind: 'anonymous' }, origin)).toEqual({
      user: '',
      groups: [],
      clientId: '',
    });
  });
});

it('networks that the settings name are let in', async () => {
  const environment = { ROSETTAMQ_AUTH__TRUSTED_NETWORKS: '10.1.0.0/16,fd00::/8,192.0.2.7' };
  expect(await userFrom('10.1.2.3', environment)).toBe('ann');
  expect(await userFrom('fd00::1', environment)).toBe('ann');
  expect(await userFrom('192.0.2.7', environment)).toBe('ann');
  expect(await userFrom('192.0.2.8', environment)).toBe(null);
  expect(await userFrom('127.0.0.1', environment)).toBe(null);
});

it.each(['10.0.0.0/33', '10.0.0.0/200', '1.2.3', '::1/129', 'a:b', '1::2::3'])(
  'the network %s is refused at start',
  async (network) => {
    const { auth } = loadConfig(configShape, none).host;
    await expect(openAuthWorld({ ...auth, trustedNetworks: [network] })).rejects.toThrow(
      'is not an address or network',
    );
  },
);

it('the settings of docker-compose.yml are valid, and let in whom it means', async () => {
  const { services, networks } = readComposeFile();
  const environment = { ...services.rosettamq!.environment };
  const { host, sections } = loadConfig(configShape, { ...none, environment });
  expect(host.auth.trustedNetworks).toContain(networks.default.ipam.config[0]?.subnet);
  expect(host.http.host).toBe('0.0.0.0');
  for (const section of Object.keys(configShape.sections))
    expect(sections[section]).toMatchObject({ host: '0.0.0.0' });
  expect(await userFrom('172.30.83.1', environment)).toBe('ann');
});
