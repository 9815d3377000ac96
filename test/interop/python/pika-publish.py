"""Publishes one persistent message and waits for its confirm: PORT EXCHANGE KEY BODY [JSON of properties]."""
import json
import sys

import pika

port, exchange, key, body = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
properties = json.loads(sys.argv[5]) if len(sys.argv) > 5 else {}
connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
channel = connection.channel()
channel.confirm_delivery()
channel.basic_publish(
    exchange=exchange,
    routing_key=key,
    body=body.encode(),
    properties=pika.BasicProperties(delivery_mode=2, **properties),
)
print("confirmed", flush=True)
connection.close()
