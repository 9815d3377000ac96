/**
 * How two gateways know each other over MQTT 5, so that a bridge sends nothing back to where it came from: a bridge says
 * in a user property of CONNECT which gateway it is of, and a gateway answers it, and nobody else, in CONNACK with its
 * own id. Used by the server and by the client of bridges. The ids are 32 hexadecimal digits.
 */

export const PeerProperty = {
  /** Of CONNECT: the id of the gateway whose bridge connects. */
  bridge: 'gw-bridge',
  /** Of CONNACK: the id of the gateway that is connected to. */
  gateway: 'gw-id',
} as const;
