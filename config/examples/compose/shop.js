/**
 * The shop of docker-compose.yml, which knows RabbitMQ alone: it publishes an order to the exchange `orders` every two
 * seconds. When the broker goes away it ends, and is started again.
 */
import { connect } from 'amqplib';

const ORDER_EVERY_MS = 2000;

const connection = await connect({
  hostname: 'rabbitmq',
  username: 'gateway',
  password: process.env.RABBITMQ_PASSWORD,
});
// The process with number 1 of a container gets no signal that it does not ask for.
process.once('SIGTERM', () => process.exit());
connection.on('close', () => process.exit(1));
const channel = await connection.createConfirmChannel();
await channel.assertExchange('orders', 'topic');
for (let order = 1; ; order++) {
  channel.publish('orders', 'eu.new', Buffer.from(JSON.stringify({ order })), { persistent: true });
  await channel.waitForConfirms();
  await new Promise((resolve) => setTimeout(resolve, ORDER_EVERY_MS));
}
