"""Binds a durable queue and prints what arrives, one JSON object a line: PORT EXCHANGE QUEUE KEY COUNT.

The exchange is never declared. Prints "ready" once the queue is bound.
"""
import base64
import json
import sys

import pika

port, exchange, queue, key, count = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])
connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
channel = connection.channel()
channel.queue_declare(queue=queue, durable=True)
channel.queue_bind(exchange=exchange, queue=queue, routing_key=key)
print("ready", flush=True)


def plain(value):
    """A header's value as JSON can hold it."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


for received, (method, properties, body) in enumerate(channel.consume(queue), start=1):
    channel.basic_ack(method.delivery_tag)
    print(json.dumps({
        "exchange": method.exchange,
        "routing_key": method.routing_key,
        "redelivered": method.redelivered,
        "body": body.decode(),
        "content_type": properties.content_type,
        "correlation_id": properties.correlation_id,
        "reply_to": properties.reply_to,
        "delivery_mode": properties.delivery_mode,
        "expiration": properties.expiration,
        "timestamp": properties.timestamp,
        "message_id": properties.message_id,
        "headers": plain(properties.headers or {}),
    }), flush=True)
    if received == count:
        break
connection.close()
