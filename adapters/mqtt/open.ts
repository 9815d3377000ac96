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
import { QueueFeeds } from './queues/feeds.ts';
import { settleDelivery } from './queues/settlement.ts';
import { AliasesIn } from './state/aliases.ts';
import type { Client, ConnectionEvents } from './state/client.ts';
import { Inbound } from './state/inbound.ts';
import { messageRateFrom } from './state/message-rate.ts';
import { Outbound } from './state/outbound.ts';
import { Replay } from './state/replay.ts';
import { SessionState } from './state/session-state.ts';

/** What a connection needs once its client publishes. */
interface PublishingSide {
  readonly inbound: Inbound;
  readonly publish: PublishHandler;
}

export class Open {
  readonly client: Client;
  readonly session: Session;
  readonly outbound: Outbound;
  readonly replay: Replay;
  readonly subscribing: SubscribeContext;
  /** Of the connect packet only this is kept: it holds the password too. */
  readonly will: Will | null;
  /** From the first AUTH on. */
  reauthentication: Reauthentication | null = null;
  readonly #context: MqttContext;
  readonly #state: SessionState;
  /** QoS 2 identifiers of earlier connections. */
  readonly #received: Set<number> | null;
  #publishing: PublishingSide | null = null;

  constructor(context: MqttContext, transport: Transport, agreed: Agreed, events: ConnectionEvents) {
    const { core, encoder, settings, traffic, sys, logger } = context;
    const { limits } = settings;
    const { outputBytesSoft, inflightBytesMax } = limits;
    const { packet, session } = agreed;
    const client = clientFrom(agreed);
    const state = new SessionState(session);
    const { received, released } = state.load();
    const replay = new Replay(core, sys, session, transport, outputBytesSoft);
    const outbound = new Outbound(
      {
        core,
        encoder,
        transport,
        client,
        session,
        state,
        outputBytesSoft,
        inflightBytesMax,
        events,
        traffic,
      },
      released,
    );
    this.client = client;
    this.session = session;
    this.will = packet.will;
    this.replay = replay;
    this.outbound = outbound;
    this.subscribing = {
      core,
      transport,
      client,
      session,
      replay,
      queues: QueueFeeds.resumed({ core, client, session, outbound, limits, logger, events }),
      outbound,
      logger,
      limits,
      events,
      traffic,
      waitingCount: 0,
    };
    this.#context = context;
    this.#state = state;
    this.#received = received;
  }

  /** Made with the first message: of many clients most only listen. */
  get publishing(): PublishingSide {
    this.#publishing ??= this.#startPublishing();
    return this.#publishing;
  }

  /** Acknowledgements that the client is owed. */
  get receiptsWaiting(): number {
    return this.#publishing === null ? 0 : this.#publishing.inbound.waitingCount;
  }

  /** 0: none. `[MQTT-3.1.2-22]`: one and a half times the keep alive. */
  get keepAliveMs(): number {
    return this.client.keepAliveSeconds * 1000 * KEEP_ALIVE_GRACE;
  }

  close(): void {
    this.reauthentication?.close();
    this.outbound.close();
    this.#publishing?.inbound.close();
  }

  #startPublishing(): PublishingSide {
    const { core, settings, traffic } = this.#context;
    const { client, session } = this;
    const { transport, events } = this.subscribing;
    const inbound = new Inbound(
      {
        core,
        transport,
        client,
        session,
        state: this.#state,
        publisher: core.openPublisher(events),
        receiveMaximum: client.version === 5 ? settings.limits.receiveMaximum : 0,
        refusedPublish: settings.refusedPublish,
        events,
        traffic,
      },
      this.#received,
    );
    const publish = new PublishHandler({
      version: client.version,
      frame: new PublishFrame(),
      inbound,
      aliases: new AliasesIn(settings.limits.topicAliasMaximum),
      rate: messageRateFrom(core.clock, settings.limits),
      settle: (settlement, native) => settleDelivery(core, client.principal, settlement, native),
      events,
      traffic,
      settings,
    });
    return { inbound, publish };
  }
}

/** What CONNECT led to. */
export interface Agreed {
  readonly packet: ConnectPacket;
  readonly agreement: Agreement;
  readonly session: Session;
  readonly principal: Principal;
}

const KEEP_ALIVE_GRACE = 1.5;

function clientFrom({ packet, agreement, principal }: Agreed): Client {
  return {
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
}
