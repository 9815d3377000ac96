"""QoS 2 both ways and a resumed session with paho: PORT VERSION (311 or 5). Prints "ok" at the end."""
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

port, version = int(sys.argv[1]), sys.argv[2]
protocol = mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311
topic = f"paho/{version}/orders"
received = []


def open_client(name, clean):
    options = {"clean_session": clean} if version != "5" else {}
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol, **options)
    client.connected = None
    client.on_connect = lambda c, _, flags, code, __: setattr(c, "connected", (code, flags.session_present))
    client.on_message = lambda _, __, message: received.append((message.qos, message.payload))
    arguments = {}
    if version == "5":
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0 if clean else 600
        arguments = {"clean_start": clean, "properties": properties}
    client.connect("127.0.0.1", port, **arguments)
    client.loop_start()
    wait_for(lambda: client.connected is not None, "connect")
    assert client.connected[0] == 0, client.connected
    return client


def wait_for(check, what):
    deadline = time.time() + 10
    while not check():
        assert time.time() < deadline, f"waited for {what}; received {received}"
        time.sleep(0.01)


def close(client):
    client.disconnect()
    client.loop_stop()


subscriber = open_client(f"paho-sub-{version}", clean=False)
assert not subscriber.connected[1], "a new session said that it was present"
subscriber.subscribe(topic, qos=2)
time.sleep(0.3)
publisher = open_client(f"paho-pub-{version}", clean=True)

for number in range(20):
    publisher.publish(topic, f"live {number}", qos=2).wait_for_publish(10)
wait_for(lambda: len(received) >= 20, "live messages")
close(subscriber)

for number in range(20):
    publisher.publish(topic, f"away {number}", qos=2).wait_for_publish(10)
subscriber = open_client(f"paho-sub-{version}", clean=False)
assert subscriber.connected[1], "the session was not resumed"
wait_for(lambda: len(received) >= 40, "messages kept for the session")
time.sleep(0.3)
expected = [(2, f"live {n}".encode()) for n in range(20)] + [(2, f"away {n}".encode()) for n in range(20)]
assert received == expected, received

close(subscriber)
close(publisher)
print("ok", flush=True)
