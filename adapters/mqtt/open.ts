/**
 * Everything that a connection has from CONNACK to its end, put together from what CONNECT agreed on and the session
 * that was found. Called by `connection.ts`, which owns the result and closes it.
 */

import type { Principal, Session } from '../../src/core/index.ts';
import type { Transport } from '../../src/host.ts';
import type { ConnectPacket, Will } from './codec/connect.ts';
import { PublishFrame } from './codec/publish.ts';
import type { MqttContext } from './context.ts';
import type { Reauthentication } from './handlers/authentication.ts';
import type { Agreement } from './handlers/connect.ts';
import { PublishHandler } from './handlers/publish.ts';
import type { SubscribeContext } from './handlers/subscribe.ts';
import { AliasesIn } from './state/aliases.ts';
import type { Client, ConnectionEvents } from './state/client.ts';
import { Inbound } from './state/inbound.ts';
import { messageRateFrom } from './state/message-rate.ts';
import { Outbound } from './state/outbound.ts';
import { Replay } from './state/replay.ts';
import { SessionState } from './state/session-state.ts';

export interface Open {
  readonly client: Client;
  readonly session: Session;
  readonly inbound: Inbound;
  readonly outbound: Outbound;
  readonly replay: Replay;
  readonly publish: PublishHandler;
  readonly subscribing: SubscribeContext;
  /** Of the connect packet only this is kept: it holds the password too. */
  readonly will: Will | null;
  /** From the first AUTH on. */
  reauthentication: Reauthentication | null;
  /** 0: none. */
  readonly keepAliveMs: number;
}

/** What CONNECT led to. */
export interface Agreed {
  readonly packet: ConnectPacket;
  readonly agreement: Agreement;
  readonly session: Session;
  readonly principal: Principal;
}

/** `[MQTT-3.1.2-22]`: one and a half times the keep alive. */
const KEEP_ALIVE_GRACE = 1.5;

export function buildOpen(
  context: MqttContext,
  transport: Transport,
  agreed: Agreed,
  events: ConnectionEvents,
): Open {
  const { core, encoder, settings, traffic, sys } = context;
  const { limits } = settings;
  const { packet, agreement, session, principal } = agreed;
  const client: Client = {
    version: packet.version,
    clientId: agreement.clientId,
    user: packet.user ?? '',
    principal,
    method: packet.properties.authenticationMethod ?? null,
    keepAliveSeconds: agreement.keepAliveSeconds,
    bridge: packet.bridge,
    packetBytesMax: agreement.packetBytesMax,
    inflightMax: agreement.inflightMax,
    topicAliasMaximumOut: agreement.topicAliasMaximumOut,
    wantsProblemInformation: agreement.wantsProblemInformation,
  };
  const state = new SessionState(session);
  const { received, released } = state.load();
  const inbound = new Inbound(
    {
      core,
      transport,
      client,
      session,
      state,
      publisher: core.openPublisher(events),
      receiveMaximum: packet.version === 5 ? limits.receiveMaximum : 0,
      refusedPublish: settings.refusedPublish,
      events,
      traffic,
    },
    received,
  );
  const { outputBytesSoft } = limits;
  const outbound = new Outbound(
    {
      core,
      encoder,
      transport,
      client,
      session,
      state,
      outputBytesSoft,
      events,
      traffic,
    },
    released,
  );
  const replay = new Replay(core, sys, session, transport, outputBytesSoft);
  const aliases = new AliasesIn(limits.topicAliasMaximum);
  const frame = new PublishFrame();
  return {
    client,
    session,
    inbound,
    outbound,
    replay,
    publish: new PublishHandler({
      version: packet.version,
      frame,
      inbound,
      aliases,
      rate: messageRateFrom(core.clock, limits),
      events,
      settings,
    }),
    subscribing: {
      core,
      transport,
      client,
      session,
      replay,
      limits,
      events,
      traffic,
      waitingCount: 0,
    },
    will: packet.will,
    reauthentication: null,
    keepAliveMs: agreement.keepAliveSeconds * 1000 * KEEP_ALIVE_GRACE,
  };
}
