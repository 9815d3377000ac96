// What every MQTT client has to see, with autopaho of paho.golang (MQTT 5):
//
//	autopaho URL CA-FILE CERTIFICATE-FILE KEY-FILE
//
// Every quality of service in order, a retained message, a will, a resumed session. It prints the name of each step
// that went well, and "ok" at the end. Files that are not needed are empty arguments.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
)

const waitMax = 10 * time.Second

func fail(text string, values ...any) {
	fmt.Fprintf(os.Stderr, text+"\n", values...)
	os.Exit(1)
}

func check(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func tlsConfig(ca, certificate, key string) *tls.Config {
	if ca == "" {
		return nil
	}
	pem, err := os.ReadFile(ca)
	check(err, "the authority")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: roots}
	if certificate != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		check(err, "the certificate")
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

type client struct {
	*autopaho.ConnectionManager
	received chan *paho.Publish
	present  bool
}

var (
	location *url.URL
	security *tls.Config
)

func open(name string, expirySeconds uint32, will *paho.WillMessage) *client {
	made := &client{received: make(chan *paho.Publish, 1000)}
	config := autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{location},
		TlsCfg:                        security,
		KeepAlive:                     20,
		CleanStartOnInitialConnection: expirySeconds == 0,
		SessionExpiryInterval:         expirySeconds,
		WillMessage:                   will,
		OnConnectionUp:                func(_ *autopaho.ConnectionManager, ack *paho.Connack) { made.present = ack.SessionPresent },
		ClientConfig: paho.ClientConfig{
			ClientID: "autopaho-" + location.Scheme + "-" + name,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(got paho.PublishReceived) (bool, error) {
				made.received <- got.Packet
				return true, nil
			}},
		},
	}
	manager, err := autopaho.NewConnection(context.Background(), config)
	check(err, "connect")
	within, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	check(manager.AwaitConnection(within), "connect")
	made.ConnectionManager = manager
	return made
}

func (c *client) publish(topic string, qos byte, retain bool, payload string) {
	within, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	_, err := c.Publish(within, &paho.Publish{Topic: topic, QoS: qos, Retain: retain, Payload: []byte(payload)})
	check(err, "publish")
}

func (c *client) subscribe(topic string) {
	within, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	_, err := c.Subscribe(within, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 2}}})
	check(err, "subscribe")
}

func (c *client) expect(payload string, qos byte, retained bool) {
	select {
	case got := <-c.received:
		if string(got.Payload) != payload || got.QoS != qos || got.Retain != retained {
			fail("got %s at QoS %d, retained %v; expected %s", got.Payload, got.QoS, got.Retain, payload)
		}
	case <-time.After(waitMax):
		fail("waited for %s", payload)
	}
}

func (c *client) close() {
	within, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	check(c.Disconnect(within), "disconnect")
}

func main() {
	var err error
	location, err = url.Parse(os.Args[1])
	check(err, "the URL")
	security = tlsConfig(os.Args[2], os.Args[3], os.Args[4])
	base := "autopaho/" + location.Scheme + "/"

	publisher := open("publisher", 0, nil)
	subscriber := open("subscriber", 0, nil)
	subscriber.subscribe(base + "live/#")
	for qos := byte(0); qos <= 2; qos++ {
		for number := 0; number < 50; number++ {
			publisher.publish(base+"live/x", qos, false, fmt.Sprint(number))
		}
		for number := 0; number < 50; number++ {
			subscriber.expect(fmt.Sprint(number), qos, false)
		}
	}
	fmt.Println("qos")

	publisher.publish(base+"kept", 1, true, "kept")
	subscriber.subscribe(base + "kept")
	subscriber.expect("kept", 1, true)
	publisher.publish(base+"kept", 1, true, "")
	// Who is subscribed sees that it was cleared as a message of its own.
	subscriber.expect("", 1, false)
	fmt.Println("retained")

	subscriber.subscribe(base + "will")
	dying := open("dying", 0, &paho.WillMessage{Topic: base + "will", QoS: 2, Payload: []byte("gone")})
	dying.TerminateConnectionForTest()
	subscriber.expect("gone", 2, false)
	fmt.Println("will")

	keeper := open("keeper", 600, nil)
	keeper.subscribe(base + "away")
	keeper.close()
	for number := 0; number < 20; number++ {
		publisher.publish(base+"away", 2, false, fmt.Sprint(number))
	}
	keeper = open("keeper", 600, nil)
	if !keeper.present {
		fail("the session was not resumed")
	}
	for number := 0; number < 20; number++ {
		keeper.expect(fmt.Sprint(number), 2, false)
	}
	keeper.close()
	fmt.Println("session")
	fmt.Println("ok")
}
