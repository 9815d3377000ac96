/**
 * What all connections of the adapter have received and sent, as plain numbers that grow. Added to where packets are
 * read and written; read by `sys/`.
 */
export class Traffic {
  packetsReceived = 0;
  packetsSent = 0;
  publishesReceived = 0;
  publishesSent = 0;
  bytesReceived = 0;
  bytesSent = 0;
  connections = 0;
  /** Most clients at one time. */
  clientsMax = 0;

  /** One packet other than PUBLISH. */
  sent(bytes: number): void {
    this.packetsSent++;
    this.bytesSent += bytes;
  }

  sentPublish(bytes: number): void {
    this.publishesSent++;
    this.packetsSent++;
    this.bytesSent += bytes;
  }

  accepted(clients: number): void {
    this.connections++;
    if (clients > this.clientsMax) this.clientsMax = clients;
  }
}
