/**
 * A gateway with certificates made for the run: TLS listeners for every protocol, and two kinds of it, for clients that
 * need not show a certificate and for those that must. Used by the suites that run clients over every transport.
 */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { findPeer, locatePeer } from '../peers/programs.ts';
import { createAuthority, writeFolder } from '../support/certificates.ts';
import { pickPort } from '../support/ports.ts';
import { type Gateway, startGateway } from './gateway.ts';

const STORE_PASSWORD = 'password';

/** Files of the run's certificates: the authority's, a client's, and those of a client that is not believed. */
export interface Files {
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
  readonly strangerCertificate: string;
  readonly strangerKey: string;
  /** PKCS #12, for Java; made when they are asked for. */
  authorityStore(): string;
  certificateStore(): string;
}

export interface SecuredGateway extends Gateway {
  readonly files: Files;
  readonly secured: {
    readonly mqtt: number;
    readonly webSocket: number;
    readonly amqp: number;
    readonly kafka: number;
  };
  /** Of its Unix domain socket for MQTT. */
  readonly socketFile: string;
}

export async function startSecuredGateway(clientCertificate: 'none' | 'require'): Promise<SecuredGateway> {
  const authority = createAuthority('RosettaMQ test authority');
  const server = authority.issue({ commonName: 'localhost', names: ['dns:localhost', 'ip:127.0.0.1'] });
  const client = authority.issue({ commonName: 'device-1', names: ['dns:device-1.example.com'] });
  const stranger = createAuthority('Another authority').issue({ commonName: 'device-1' });
  const folder = writeFolder({
    'authority.pem': authority.certificate,
    'server.pem': server.certificate,
    'server.key': server.key,
    'client.pem': client.certificate,
    'client.key': client.key,
    'stranger.pem': stranger.certificate,
    'stranger.key': stranger.key,
  });
  const file = (name: string): string => join(folder, name);
  const secured = {
    mqtt: await pickPort(),
    webSocket: await pickPort(),
    amqp: await pickPort(),
    kafka: await pickPort(),
  };
  const socketFile = file('mqtt.sock');
  const certificates = [{ certificateFile: file('server.pem'), keyFile: file('server.key') }];
  const env: Record<string, string> = {
    ROSETTAMQ_TLS__CERTIFICATES: JSON.stringify(certificates),
    ROSETTAMQ_TLS__CLIENT_AUTHORITIES_FILE: file('authority.pem'),
    ROSETTAMQ_MQTT__UNIX__PATH: socketFile,
  };
  const sections = {
    MQTT: secured.mqtt,
    MQTT__WEBSOCKET: secured.webSocket,
    AMQP091: secured.amqp,
    KAFKA: secured.kafka,
  };
  for (const [section, port] of Object.entries(sections)) {
    env[`ROSETTAMQ_${section}__TLS__PORT`] = String(port);
    env[`ROSETTAMQ_${section}__TLS__CLIENT_CERTIFICATE`] = clientCertificate;
  }
  const gateway = await startGateway({ env });
  const files: Files = {
    authority: file('authority.pem'),
    certificate: file('client.pem'),
    key: file('client.key'),
    strangerCertificate: file('stranger.pem'),
    strangerKey: file('stranger.key'),
    authorityStore() {
      const path = file('authority.p12');
      rmSync(path, { force: true });
      const keytool = join(findPeer('java') ?? 'java', '../keytool');
      const store = ['-keystore', path, '-storetype', 'PKCS12', '-storepass', STORE_PASSWORD];
      const what = ['-importcert', '-noprompt', '-alias', 'authority', '-file', file('authority.pem')];
      execFileSync(keytool, [...what, ...store], { stdio: 'pipe' });
      return path;
    },
    certificateStore() {
      const path = file('client.p12');
      const from = ['-in', file('client.pem'), '-inkey', file('client.key'), '-out', path];
      execFileSync(locatePeer('openssl'), [
        'pkcs12',
        '-export',
        ...from,
        '-passout',
        `pass:${STORE_PASSWORD}`,
      ]);
      return path;
    },
  };
  return Object.assign(gateway, {
    files,
    secured,
    socketFile,
    stop: stopAndRemove(gateway.stop.bind(gateway), folder),
  });
}

const stopAndRemove = (stop: () => Promise<void>, folder: string) => async (): Promise<void> => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
};
