// What every MQTT client has to see, with the HiveMQ client (MQTT 5), run by the source launcher of Java:
//
//   java -cp JARS HiveMqTransports.java (SCHEME HOST PORT AUTHORITY-STORE CERTIFICATE-STORE)...
//
// Every quality of service in order, a retained message, a will, a resumed session, at one place after the other. It
// prints the number of the place and the name of each step that went well, with "ok" as the last. Stores are PKCS #12 files with the password "password"; "-" where none is needed.

import com.hivemq.client.mqtt.MqttGlobalPublishFilter;
import com.hivemq.client.mqtt.MqttClientSslConfig;
import com.hivemq.client.mqtt.datatypes.MqttQos;
import com.hivemq.client.mqtt.mqtt5.Mqtt5BlockingClient;
import com.hivemq.client.mqtt.mqtt5.Mqtt5Client;
import com.hivemq.client.mqtt.mqtt5.Mqtt5ClientBuilder;
import com.hivemq.client.mqtt.mqtt5.message.disconnect.Mqtt5DisconnectReasonCode;
import com.hivemq.client.mqtt.mqtt5.message.publish.Mqtt5Publish;
import java.io.FileInputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.TrustManagerFactory;

public class HiveMqTransports {
  static final char[] PASSWORD = "password".toCharArray();
  static String scheme;
  static String host;
  static int port;
  static MqttClientSslConfig security;

  static KeyStore load(String path) throws Exception {
    KeyStore store = KeyStore.getInstance("PKCS12");
    try (FileInputStream stream = new FileInputStream(path)) {
      store.load(stream, PASSWORD);
    }
    return store;
  }

  static Mqtt5BlockingClient build(String name) {
    Mqtt5ClientBuilder builder =
        Mqtt5Client.builder().identifier("hivemq-" + scheme + "-" + name).serverHost(host).serverPort(port);
    if (security != null) builder = builder.sslConfig(security);
    if (scheme.startsWith("ws")) builder = builder.webSocketConfig().serverPath("mqtt").applyWebSocketConfig();
    return builder.buildBlocking();
  }

  static void publish(Mqtt5BlockingClient client, String topic, int qos, boolean retain, String payload) {
    byte[] bytes = payload.getBytes(StandardCharsets.UTF_8);
    client.publishWith().topic(topic).qos(MqttQos.fromCode(qos)).retain(retain).payload(bytes).send();
  }

  static void expect(Mqtt5BlockingClient.Mqtt5Publishes from, String payload, int qos, boolean retained) throws Exception {
    Mqtt5Publish got =
        from.receive(10, TimeUnit.SECONDS).orElseThrow(() -> new IllegalStateException("waited for " + payload));
    String text = new String(got.getPayloadAsBytes(), StandardCharsets.UTF_8);
    if (!text.equals(payload) || got.getQos().getCode() != qos || got.isRetain() != retained) {
      throw new IllegalStateException("got " + got + "; expected " + payload);
    }
  }

  public static void main(String[] arguments) throws Exception {
    for (int place = 0; 5 * place < arguments.length; place++) {
      try {
        runAt(place, Arrays.copyOfRange(arguments, 5 * place, 5 * place + 5));
      } catch (Exception error) {
        error.printStackTrace();
      }
    }
    System.exit(0);
  }

  static void runAt(int place, String[] arguments) throws Exception {
    scheme = arguments[0];
    host = arguments[1];
    port = Integer.parseInt(arguments[2]);
    security = null;
    if (!arguments[3].equals("-")) {
      TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
      trust.init(load(arguments[3]));
      var builder = MqttClientSslConfig.builder().trustManagerFactory(trust);
      if (!arguments[4].equals("-")) {
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(load(arguments[4]), PASSWORD);
        builder = builder.keyManagerFactory(keys);
      }
      security = builder.build();
    }
    String base = "hivemq/" + scheme + "/";

    Mqtt5BlockingClient publisher = build("publisher");
    publisher.connect();
    Mqtt5BlockingClient subscriber = build("subscriber");
    var received = subscriber.publishes(MqttGlobalPublishFilter.ALL);
    subscriber.connect();
    subscriber.subscribeWith().topicFilter(base + "live/#").qos(MqttQos.EXACTLY_ONCE).send();
    for (int qos = 0; qos <= 2; qos++) {
      for (int number = 0; number < 20; number++) publish(publisher, base + "live/x", qos, false, "" + number);
      for (int number = 0; number < 20; number++) expect(received, "" + number, qos, false);
    }
    System.out.println(place + " qos");

    publish(publisher, base + "kept", 1, true, "kept");
    subscriber.subscribeWith().topicFilter(base + "kept").qos(MqttQos.EXACTLY_ONCE).send();
    expect(received, "kept", 1, true);
    publish(publisher, base + "kept", 1, true, "");
    expect(received, "", 1, false);
    System.out.println(place + " retained");

    subscriber.subscribeWith().topicFilter(base + "will").qos(MqttQos.EXACTLY_ONCE).send();
    Mqtt5BlockingClient dying = build("dying");
    byte[] gone = "gone".getBytes(StandardCharsets.UTF_8);
    dying.connectWith().willPublish().topic(base + "will").qos(MqttQos.EXACTLY_ONCE).payload(gone).applyWillPublish().send();
    dying.disconnectWith().reasonCode(Mqtt5DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE).send();
    expect(received, "gone", 2, false);
    System.out.println(place + " will");

    Mqtt5BlockingClient keeper = build("keeper");
    keeper.connectWith().cleanStart(true).sessionExpiryInterval(600).send();
    keeper.subscribeWith().topicFilter(base + "away").qos(MqttQos.EXACTLY_ONCE).send();
    keeper.disconnect();
    for (int number = 0; number < 20; number++) publish(publisher, base + "away", 2, false, "" + number);
    Mqtt5BlockingClient again = build("keeper");
    var resumed = again.publishes(MqttGlobalPublishFilter.ALL);
    if (!again.connectWith().cleanStart(false).sessionExpiryInterval(600).send().isSessionPresent()) {
      throw new IllegalStateException("the session was not resumed");
    }
    for (int number = 0; number < 20; number++) expect(resumed, "" + number, 2, false);
    again.disconnect();
    System.out.println(place + " session");
    publisher.disconnect();
    subscriber.disconnect();
    System.out.println(place + " ok");
  }
}
