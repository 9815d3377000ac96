/**
 * The handshake and the other methods of channel 0: start, credentials, tune, open, close (AMQP 0-9-1 1.4).
 * Called by the connection with the method's name; `start` is what the server says first.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import { decodeTable, MalformedTableError } from '../../../mappings/amqp091.ts';
import type { Header, Principal } from '../../../src/core/index.ts';
import { type Credentials, originOf } from '../../../src/host.ts';
import { decodeArguments } from '../codec/method-codec.ts';
import type { MethodArguments, MethodName } from '../codec/methods.ts';
import type { ConnectionContext, ConnectionState } from '../context.ts';
import { connectionError } from '../errors.ts';

/** AMQP 0-9-1 4.2.3: no peer may be given less. */
const FRAME_BYTES_MIN = 4096;
const MECHANISMS = 'PLAIN AMQPLAIN ANONYMOUS';
/** Offered in front of them where the client has shown a certificate. RFC 4422 appendix A. */
const WITH_CERTIFICATE = 'EXTERNAL';
const CAPABILITIES = [
  'publisher_confirms',
  'exchange_exchange_bindings',
  'basic.nack',
  'consumer_cancel_notify',
  'connection.blocked',
  'consumer_priorities',
  'authentication_failure_close',
  'per_consumer_qos',
  'direct_reply_to',
] as const;

export function handleConnectionMethod(
  connection: ConnectionContext,
  name: MethodName | 'start',
  bytes: Buffer,
  start: number,
  end: number,
): Promise<void> | void {
  switch (name) {
    case 'start':
      return sendStart(connection);
    case 'connection.start-ok':
      expectState(connection, name, 'starting');
      return takeStartOk(connection, decodeArguments(name, bytes, start, end));
    case 'connection.tune-ok':
      expectState(connection, name, 'tuning');
      return takeTuneOk(connection, decodeArguments(name, bytes, start, end));
    case 'connection.open':
      expectState(connection, name, 'opening');
      return openVirtualHost(connection, decodeArguments(name, bytes, start, end));
    case 'connection.close':
      decodeArguments(name, bytes, start, end);
      return connection.answerClose();
    case 'connection.update-secret':
      expectState(connection, name, 'open');
      throw connectionError(
        'not-allowed',
        'update-secret: who the client is does not change while it is connected',
      );
    default:
      throw connectionError('command-invalid', `unexpected method on channel 0: ${name}`);
  }
}

function expectState(connection: ConnectionContext, name: string, state: ConnectionState): void {
  if (connection.state !== state) {
    throw connectionError('command-invalid', `${name} is out of turn`);
  }
}

function text(name: string, value: string): Header {
  return { name, value: { kind: 'string', value } };
}

function sendStart(connection: ConnectionContext): void {
  const { host, settings } = connection.shared;
  const mechanisms =
    connection.transport.certificate === null ? MECHANISMS : `${WITH_CERTIFICATE} ${MECHANISMS}`;
  connection.send(0, 'connection.start', {
    versionMajor: 0,
    versionMinor: 9,
    serverProperties: [
      text('product', settings.product),
      text('version', settings.productVersion === '' ? host.version : settings.productVersion),
      text('platform', 'Node.js'),
      text('information', `RosettaMQ ${host.version}`),
      text('cluster_name', Buffer.from(host.clusterId).toString('hex')),
      {
        name: 'capabilities',
        value: {
          kind: 'map',
          value: CAPABILITIES.map((name) => ({ name, value: { kind: 'bool', value: true } })),
        },
      },
    ],
    mechanisms: Buffer.from(mechanisms),
    locales: Buffer.from('en_US'),
  });
}

function textOf(headers: readonly Header[], name: string): string {
  const value = headers.find((header) => header.name === name)?.value;
  if (value?.kind === 'string') return value.value;
  return value?.kind === 'bytes' ? Buffer.from(value.value).toString() : '';
}

async function takeStartOk(
  connection: ConnectionContext,
  { clientProperties, mechanism, response }: MethodArguments<'connection.start-ok'>,
): Promise<void> {
  connection.clientName = textOf(clientProperties, 'connection_name').slice(0, 255);
  connection.clientProduct = textOf(clientProperties, 'product').slice(0, 255);
  const capabilities = clientProperties.find((header) => header.name === 'capabilities')?.value;
  if (capabilities?.kind === 'map') {
    connection.capabilities = new Set(
      capabilities.value.flatMap(({ name, value }) => (value.kind === 'bool' && value.value ? [name] : [])),
    );
  }
  const { host, settings } = connection.shared;
  const { transport } = connection;
  const credentials = credentialsFrom(mechanism, response, transport.certificate !== null);
  let principal: Principal | null;
  try {
    principal =
      credentials === null
        ? null
        : await host.authenticator.authenticate(credentials, originOf(transport, ''));
  } catch (error) {
    // Why is told by whoever could not decide, once and not for each client.
    host.logger.debug({ err: error }, 'a client could not be authenticated');
    throw connectionError('internal-error', 'credentials cannot be checked now');
  }
  if (connection.state !== 'starting') return;
  if (principal === null) {
    connection.refuseLogin(
      connectionError(
        'access-refused',
        `Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`,
      ),
    );
    return;
  }
  connection.principal = principal;
  connection.state = 'tuning';
  connection.send(0, 'connection.tune', {
    channelMax: settings.channelMax,
    frameMax: settings.frameBytesMax,
    heartbeat: settings.heartbeatSeconds,
  });
}

/**
 * RFC 4616 PLAIN; AMQPLAIN is a field table without its length; RFC 4505 ANONYMOUS carries nothing that counts. Null: they
 * can be nobody's.
 */
function credentialsFrom(
  mechanism: string,
  response: Uint8Array,
  hasCertificate: boolean,
): Credentials | null {
  const bytes = Buffer.from(response.buffer, response.byteOffset, response.byteLength);
  switch (mechanism) {
    case 'ANONYMOUS':
      return { kind: 'anonymous' };
    case WITH_CERTIFICATE:
      if (!hasCertificate) {
        throw connectionError('command-invalid', 'EXTERNAL needs a client certificate, and there is none');
      }
      if (!isUtf8(bytes)) throw connectionError('syntax-error', 'malformed EXTERNAL response');
      return { kind: 'certificate', user: bytes.toString('utf8') };
    case 'PLAIN': {
      const first = bytes.indexOf(0);
      const second = first < 0 ? -1 : bytes.indexOf(0, first + 1);
      if (second < 0 || !isUtf8(bytes.subarray(0, second))) {
        throw connectionError('syntax-error', 'malformed PLAIN response');
      }
      const user = bytes.toString('utf8', first + 1, second);
      const authorizedAs = bytes.toString('utf8', 0, first);
      // RFC 4616 2: to act for another user is nobody's right here.
      if (authorizedAs !== '' && authorizedAs !== user) return null;
      return { kind: 'password', user, password: bytes.subarray(second + 1) };
    }
    case 'AMQPLAIN': {
      const fields = amqplainFields(bytes);
      const user = fields.find((field) => field.name === 'LOGIN')?.value;
      const password = fields.find((field) => field.name === 'PASSWORD')?.value;
      if (user?.kind !== 'string' || (password?.kind !== 'string' && password?.kind !== 'bytes')) {
        throw connectionError('syntax-error', 'malformed AMQPLAIN response');
      }
      return {
        kind: 'password',
        user: user.value,
        password: password.kind === 'bytes' ? password.value : Buffer.from(password.value),
      };
    }
    default:
      throw connectionError('command-invalid', `unknown authentication mechanism '${mechanism}'`);
  }
}

function amqplainFields(bytes: Buffer): Header[] {
  try {
    return decodeTable(bytes, 0, bytes.length);
  } catch (error) {
    if (!(error instanceof MalformedTableError)) throw error;
    throw connectionError('syntax-error', 'malformed AMQPLAIN response');
  }
}

/** The client may lower what was offered, 0 is "no limit of mine" (1.4.2.6). */
function takeTuneOk(connection: ConnectionContext, tuned: MethodArguments<'connection.tune-ok'>): void {
  const { settings } = connection.shared;
  connection.frameBytesMax = agree('frame_max', tuned.frameMax, settings.frameBytesMax);
  if (connection.frameBytesMax < FRAME_BYTES_MIN) {
    throw connectionError(
      'not-allowed',
      `negotiated frame_max = ${tuned.frameMax} is lower than the minimum permitted value (${FRAME_BYTES_MIN})`,
    );
  }
  connection.channelMax = agree('channel_max', tuned.channelMax, settings.channelMax);
  connection.heartbeatSeconds = tuned.heartbeat;
  connection.reader.frameBytesMax = connection.frameBytesMax;
  connection.state = 'opening';
}

function agree(what: string, asked: number, offered: number): number {
  if (asked > offered) {
    throw connectionError(
      'not-allowed',
      `negotiated ${what} = ${asked} is higher than the maximum allowed value (${offered})`,
    );
  }
  return asked === 0 ? offered : asked;
}

function openVirtualHost(
  connection: ConnectionContext,
  { virtualHost }: MethodArguments<'connection.open'>,
): void {
  if (virtualHost !== '/') throw connectionError('not-allowed', `vhost ${virtualHost} not found`);
  connection.opened();
  connection.send(0, 'connection.open-ok', { knownHosts: '' });
}
