"""Confirms, mandatory returns, prefetch and requeue with pika against the broker on PORT. Prints "ok" at the end."""
import sys

import pika
import pika.exceptions

connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(sys.argv[1])))
channel = connection.channel()
channel.confirm_delivery()
queue = "pika-reliability"
channel.queue_declare(queue=queue, durable=True)
channel.queue_purge(queue)

for number in range(5):
    channel.basic_publish("", queue, str(number).encode(), pika.BasicProperties(delivery_mode=2), mandatory=True)
print("confirmed 5", flush=True)

try:
    channel.basic_publish("", "nobody-has-this-queue", b"x", mandatory=True)
    sys.exit("a mandatory message without a queue was not returned")
except pika.exceptions.UnroutableError:
    print("returned 1", flush=True)

# No more than two may be unacknowledged.
channel.basic_qos(prefetch_count=2)
received = []
channel.basic_consume(queue, lambda ch, method, properties, body: received.append((method, body)))
connection.process_data_events(time_limit=1)
assert [body for _, body in received] == [b"0", b"1"], received
print("prefetch 2", flush=True)

# A requeued message comes again, marked and in its old place.
channel.basic_nack(received[0][0].delivery_tag, requeue=True)
connection.process_data_events(time_limit=1)
assert received[2][1] == b"0" and received[2][0].redelivered, received
print("requeued 1", flush=True)

channel.basic_ack(received[1][0].delivery_tag)
channel.basic_reject(received[2][0].delivery_tag, requeue=False)
while len(received) < 6:
    before = len(received)
    connection.process_data_events(time_limit=1)
    assert len(received) > before, received
    for method, _ in received[max(before, 3):]:
        channel.basic_ack(method.delivery_tag)
assert [body for _, body in received[3:]] == [b"2", b"3", b"4"], received

channel.queue_delete(queue)
try:
    channel.queue_declare(queue=queue, passive=True)
    sys.exit("a deleted queue was still there")
except pika.exceptions.ChannelClosedByBroker as error:
    assert error.reply_code == 404, error
connection.close()
print("ok", flush=True)
