"""A persistent message published and consumed over TLS with pika: PORT CA-FILE CERTIFICATE-FILE KEY-FILE.

Files that are not needed are empty arguments. It prints the body that came back.
"""
import ssl
import sys

import pika

port, ca, certificate, key = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
context = ssl.create_default_context(cafile=ca)
if certificate:
    context.load_cert_chain(certificate, key)
options = pika.SSLOptions(context, "localhost")
connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port, ssl_options=options))
channel = connection.channel()
channel.confirm_delivery()
channel.queue_declare("pika-tls", durable=True)
channel.basic_publish("", "pika-tls", b"x" * 300_000, pika.BasicProperties(delivery_mode=2))
for method, _, body in channel.consume("pika-tls", inactivity_timeout=10):
    assert method is not None, "waited for the message"
    channel.basic_ack(method.delivery_tag)
    print(len(body), flush=True)
    break
connection.close()
