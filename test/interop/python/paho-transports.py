"""What every MQTT client has to see, with paho: URL CA-FILE CERTIFICATE-FILE KEY-FILE VERSION (311 or 5).

Every quality of service in order, a retained message, a will, a resumed session. It prints the name of each step that
went well, and "ok" at the end. Files that are not needed are empty arguments.
"""
import queue
import ssl
import sys
from urllib.parse import urlparse

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

url, ca, certificate, key, version = sys.argv[1:6]
location = urlparse(url)
is_five = version == "5"
base = f"paho-py/{location.scheme}/{version}/"


class Client:
    def __init__(self, name, clean=True, will=None):
        self.received = queue.Queue()
        self.connected = queue.Queue()
        self.subscribed = queue.Queue()
        options = {} if is_five else {"clean_session": clean}
        self.mqtt = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=f"paho-py-{location.scheme}-{version}-{name}",
            protocol=mqtt.MQTTv5 if is_five else mqtt.MQTTv311,
            transport="websockets" if location.scheme.startswith("ws") else "tcp",
            reconnect_on_failure=False,
            **options,
        )
        if location.scheme.startswith("ws"):
            self.mqtt.ws_set_options(path=location.path)
        if ca:
            context = ssl.create_default_context(cafile=ca)
            if certificate:
                context.load_cert_chain(certificate, key)
            self.mqtt.tls_set_context(context)
        if will is not None:
            self.mqtt.will_set(will, "gone", qos=2)
        self.mqtt.on_message = lambda _, __, message: self.received.put(message)
        self.mqtt.on_connect = lambda _, __, flags, code, ___: self.connected.put((code, flags.session_present))
        self.mqtt.on_subscribe = lambda *_: self.subscribed.put(True)
        arguments = {}
        if is_five:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0 if clean else 600
            arguments = {"clean_start": clean, "properties": properties}
        self.mqtt.connect(location.hostname, location.port, **arguments)
        self.mqtt.loop_start()
        code, self.present = self.connected.get(timeout=10)
        assert code == 0, code

    def subscribe(self, topic):
        self.mqtt.subscribe(topic, qos=2)
        self.subscribed.get(timeout=10)

    def publish(self, topic, payload, qos, retain=False):
        self.mqtt.publish(topic, payload, qos=qos, retain=retain).wait_for_publish(10)

    def expect(self, payload, qos, retained=False):
        message = self.received.get(timeout=10)
        got = (message.payload.decode(), message.qos, bool(message.retain))
        assert got == (payload, qos, retained), got

    def close(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


publisher = Client("publisher")
subscriber = Client("subscriber")
subscriber.subscribe(base + "live/#")
for qos in (0, 1, 2):
    for number in range(20):
        publisher.publish(base + "live/x", str(number), qos)
    for number in range(20):
        subscriber.expect(str(number), qos)
print("qos")

publisher.publish(base + "kept", "kept", 1, retain=True)
subscriber.subscribe(base + "kept")
subscriber.expect("kept", 1, True)
publisher.publish(base + "kept", "", 1, retain=True)
subscriber.expect("", 1)
print("retained")

subscriber.subscribe(base + "will")
dying = Client("dying", will=base + "will")
dying.mqtt.socket().close()
subscriber.expect("gone", 2)
print("will")

keeper = Client("keeper", clean=False)
keeper.subscribe(base + "away")
keeper.close()
for number in range(20):
    publisher.publish(base + "away", str(number), 2)
keeper = Client("keeper", clean=False)
assert keeper.present, "the session was not resumed"
for number in range(20):
    keeper.expect(str(number), 2)
keeper.close()
publisher.close()
subscriber.close()
print("session")
print("ok", flush=True)
