/**
 * What all connections of the adapter have received and sent, as plain numbers that grow. Added to where packets are
 * read and written, so each PUBLISH adds to as few of them as can be; read by `sys/`.
 */
export class Traffic {
  publishesReceived = 0;
  othersReceived = 0;
  publishesSent = 0;
  othersSent = 0;
  bytesReceived = 0;
  bytesSent = 0;
  connections = 0;
  /** Most clients at one time. */
  clientsMax = 0;

  get packetsReceived(): number {
    return this.publishesReceived + this.othersReceived;
  }

  get packetsSent(): number {
    return this.publishesSent + this.othersSent;
  }

  /** One packet other than PUBLISH. */
  sent(bytes: number): void {
    this.othersSent++;
    this.bytesSent += bytes;
  }

  sentPublish(bytes: number): void {
    this.publishesSent++;
    this.bytesSent += bytes;
  }

  accepted(clients: number): void {
    this.connections++;
    if (clients > this.clientsMax) this.clientsMax = clients;
  }
}
