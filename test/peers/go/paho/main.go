// What every MQTT client has to see, with paho.mqtt.golang (MQTT 3.1.1):
//
//	paho URL CA-FILE CERTIFICATE-FILE KEY-FILE
//
// Every quality of service in order, a retained message, a will, a resumed session. It prints the name of each step
// that went well, and "ok" at the end. Files that are not needed are empty arguments.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
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

func await(token mqtt.Token, what string) {
	if !token.WaitTimeout(waitMax) {
		fail("waited for %s", what)
	}
	check(token.Error(), what)
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

var (
	address  string
	security *tls.Config
	prefix   string
)

func options(name string, clean bool) *mqtt.ClientOptions {
	made := mqtt.NewClientOptions().AddBroker(address).SetClientID(prefix + name).SetCleanSession(clean)
	made.SetAutoReconnect(false).SetConnectTimeout(waitMax).SetOrderMatters(true).SetProtocolVersion(4)
	if security != nil {
		made.SetTLSConfig(security)
	}
	return made
}

func connect(made *mqtt.ClientOptions) mqtt.Client {
	client := mqtt.NewClient(made)
	await(client.Connect(), "connect")
	return client
}

func subscribe(client mqtt.Client, topic string) chan mqtt.Message {
	received := make(chan mqtt.Message, 1000)
	await(client.Subscribe(topic, 2, func(_ mqtt.Client, message mqtt.Message) { received <- message }), "subscribe")
	return received
}

func receive(from chan mqtt.Message, what string) mqtt.Message {
	select {
	case message := <-from:
		return message
	case <-time.After(waitMax):
		fail("waited for %s", what)
		return nil
	}
}

func expect(message mqtt.Message, payload string, qos byte, retained bool) {
	if string(message.Payload()) != payload || message.Qos() != qos || message.Retained() != retained {
		fail("got %s at QoS %d, retained %v; expected %s", message.Payload(), message.Qos(), message.Retained(), payload)
	}
}

func main() {
	address, security = os.Args[1], tlsConfig(os.Args[2], os.Args[3], os.Args[4])
	location, err := url.Parse(address)
	check(err, "the URL")
	prefix = "paho-go-" + strings.ReplaceAll(location.Scheme, ":", "") + "-"
	base := "paho-go/" + location.Scheme + "/"

	publisher := connect(options("publisher", true))
	subscriber := connect(options("subscriber", true))
	received := subscribe(subscriber, base+"live/#")
	for qos := byte(0); qos <= 2; qos++ {
		for number := 0; number < 50; number++ {
			await(publisher.Publish(base+"live/x", qos, false, fmt.Sprint(number)), "publish")
		}
		for number := 0; number < 50; number++ {
			expect(receive(received, "a live message"), fmt.Sprint(number), qos, false)
		}
	}
	fmt.Println("qos")

	await(publisher.Publish(base+"kept", 1, true, "kept"), "publish retained")
	expect(receive(subscribe(subscriber, base+"kept"), "the retained message"), "kept", 1, true)
	await(publisher.Publish(base+"kept", 1, true, ""), "clear retained")
	fmt.Println("retained")

	wills := subscribe(subscriber, base+"will")
	var socket net.Conn
	dying := options("dying", true).SetWill(base+"will", "gone", 2, false)
	if location.Scheme == "mqtt" || location.Scheme == "mqtts" || location.Scheme == "tcp" || location.Scheme == "ssl" {
		dying.SetCustomOpenConnectionFn(func(uri *url.URL, _ mqtt.ClientOptions) (net.Conn, error) {
			dialled, err := net.Dial("tcp", uri.Host)
			if err == nil && security != nil {
				config := security.Clone()
				config.ServerName = uri.Hostname()
				dialled = tls.Client(dialled, config)
			}
			socket = dialled
			return dialled, err
		})
	}
	connect(dying)
	// A WebSocket is the library's own: nothing here can break it.
	if socket != nil {
		socket.Close()
		expect(receive(wills, "the will"), "gone", 2, false)
		fmt.Println("will")
	}

	keeper := connect(options("keeper", false))
	subscribe(keeper, base+"away")
	keeper.Disconnect(100)
	for number := 0; number < 20; number++ {
		await(publisher.Publish(base+"away", 2, false, fmt.Sprint(number)), "publish to an absent client")
	}
	resumed := make(chan mqtt.Message, 1000)
	again := options("keeper", false)
	again.SetDefaultPublishHandler(func(_ mqtt.Client, message mqtt.Message) { resumed <- message })
	client := mqtt.NewClient(again)
	token := client.Connect()
	await(token, "reconnect")
	if !token.(*mqtt.ConnectToken).SessionPresent() {
		fail("the session was not resumed")
	}
	for number := 0; number < 20; number++ {
		expect(receive(resumed, "a message kept for the session"), fmt.Sprint(number), 2, false)
	}
	client.Disconnect(100)
	fmt.Println("session")
	fmt.Println("ok")
}
