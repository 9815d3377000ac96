/**
 * The numbered statements of MQTT 3.1.1 (its Appendix B), one a line: number, whom it binds, what it asks for in our
 * words. `both` also stands where a rule for clients is one that a server has to enforce. The odd numbers `3.1.2.7`
 * and `3-8.3-4` are misprints of the specification; they stand here in the form of the others. Read by `statements.ts`.
 */

export const STATEMENTS_3_1_1 = `
1.5.3-1 both Strings are well-formed UTF-8 without surrogates; otherwise the connection is closed.
1.5.3-2 both Strings do not hold U+0000; otherwise the connection is closed.
1.5.3-3 both A byte order mark is an ordinary character and is not stripped.
2.2.2-1 both Reserved flags have the listed values.
2.2.2-2 both Wrong flags close the connection.
2.3.1-1 both SUBSCRIBE, UNSUBSCRIBE and PUBLISH above QoS 0 carry an identifier that is not 0.
2.3.1-2 client A new packet takes an identifier that is not in use.
2.3.1-3 client A packet that is sent again keeps its identifier, which is free after the acknowledgement.
2.3.1-4 server The same holds for PUBLISH above QoS 0 that a server sends.
2.3.1-5 both PUBLISH of QoS 0 carries no identifier.
2.3.1-6 both PUBACK, PUBREC and PUBREL carry the identifier of the PUBLISH.
2.3.1-7 server SUBACK and UNSUBACK carry the identifier of what they answer.
3.1.0-1 both The first packet is CONNECT.
3.1.0-2 both A second CONNECT is a violation and closes the connection.
3.1.2-1 server Another protocol name is not served as this protocol.
3.1.2-2 server Another protocol level is answered with return code 1 and the close.
3.1.2-3 server The reserved connect flag has to be 0, or the connection is closed.
3.1.2-4 both Clean session 0 resumes the session or begins one, which is kept after the connection.
3.1.2-5 server While the client is away QoS 1 and 2 messages are kept for its subscriptions.
3.1.2-6 both Clean session 1 discards what there was; nothing that is kept for it is used again later.
3.1.2-7 server Retained messages do not end with a session.
3.1.2-8 server An accepted will is published when the connection ends without DISCONNECT.
3.1.2-9 both With the will flag, will topic and will message are there and QoS and retain are used.
3.1.2-10 server A will is forgotten once it is published or DISCONNECT has come.
3.1.2-11 both Without the will flag its QoS and retain are 0 and its fields are absent.
3.1.2-12 server Without the will flag no will is published.
3.1.2-13 both Without the will flag the will QoS is 0.
3.1.2-14 both The will QoS is 0, 1 or 2, not 3.
3.1.2-15 both Without the will flag will retain is 0.
3.1.2-16 server A will without retain is published as a message that is not retained.
3.1.2-17 server A will with retain is published as a retained message.
3.1.2-18 both Without its flag there is no user name.
3.1.2-19 both With its flag there is a user name.
3.1.2-20 both Without its flag there is no password.
3.1.2-21 both With its flag there is a password.
3.1.2-22 both Without a user name the password flag is 0.
3.1.2-23 client The client sends something within the keep alive time.
3.1.2-24 server After one and a half times the keep alive without a packet the connection is closed.
3.1.3-1 both The fields of the payload stand in their order.
3.1.3-2 both The client identifier names the session.
3.1.3-3 both The client identifier is the first field of the payload.
3.1.3-4 both The client identifier is UTF-8.
3.1.3-5 server Identifiers of 1 to 23 letters and digits are accepted.
3.1.3-6 server A client with an empty identifier gets one of its own.
3.1.3-7 both An empty identifier goes with clean session 1.
3.1.3-8 server An empty identifier with clean session 0 is answered with return code 2 and the close.
3.1.3-9 server A refused identifier is answered with return code 2 and the close.
3.1.3-10 both The will topic is UTF-8.
3.1.3-11 both The user name is UTF-8.
3.1.4-1 server A CONNECT that is not well formed closes the connection without CONNACK.
3.1.4-2 server An older connection of the same identifier is closed.
3.1.4-3 server Clean session is processed as 3.1.2.4 says.
3.1.4-4 server An accepted CONNECT is answered with return code 0.
3.1.4-5 server After a refusal nothing that the client sends is processed.
3.2.0-1 server The first packet of a server is CONNACK.
3.2.2-1 server Clean session 1 is answered with session present 0.
3.2.2-2 server A session that is there is answered with session present 1.
3.2.2-3 server Without a session, session present is 0.
3.2.2-4 server A refusal has session present 0.
3.2.2-5 server A refusal is followed by the close.
3.2.2-6 server Where no return code fits, the connection is closed without CONNACK.
3.3.1-1 both DUP is set when a PUBLISH is sent again.
3.3.1-2 both DUP is 0 at QoS 0.
3.3.1-3 server DUP is not passed on from the publisher.
3.3.1-4 both QoS 3 closes the connection.
3.3.1-5 server A retained message is kept with its QoS for later subscribers.
3.3.1-6 server A new subscription gets the last retained message of each matching topic.
3.3.1-7 server A retained message of QoS 0 replaces the one before.
3.3.1-8 server What is sent because of a new subscription has retain 1.
3.3.1-9 server What is sent to an established subscription has retain 0.
3.3.1-10 server An empty retained message is delivered and removes what was retained.
3.3.1-11 server An empty message is not kept as a retained one.
3.3.1-12 server A message without retain neither is kept nor removes or replaces what is.
3.3.2-1 both The topic name comes first and is UTF-8.
3.3.2-2 both A topic name holds no wildcards.
3.3.2-3 server The topic name that a subscriber gets matches its filter.
3.3.4-1 both A PUBLISH is answered as its QoS asks.
3.3.5-1 server Overlapping subscriptions: the highest QoS of those that match.
3.3.5-2 server A message that may not be published is acknowledged, or the connection closed.
3.6.1-1 both PUBREL has flags 2; others close the connection.
3.8.1-1 both SUBSCRIBE has flags 2; others close the connection.
3.8.3-1 both Topic filters of SUBSCRIBE are UTF-8.
3.8.3-2 server Filters with wildcards are served, or refused where they are not supported.
3.8.3-3 both SUBSCRIBE holds at least one filter.
3.8.3-4 server Reserved bits, or QoS 3, in SUBSCRIBE close the connection.
3.8.4-1 server SUBSCRIBE is answered with SUBACK.
3.8.4-2 server SUBACK has the identifier of SUBSCRIBE.
3.8.4-3 server The same filter again replaces the subscription; retained messages are sent again.
3.8.4-4 server Several filters act as several SUBSCRIBE with one SUBACK.
3.8.4-5 server SUBACK has a code for each filter: the QoS granted or the failure.
3.8.4-6 server Messages come at the lower of the published and the granted QoS.
3.9.3-1 server The codes of SUBACK stand in the order of the filters.
3.9.3-2 server SUBACK has no codes but 0, 1, 2 and 0x80.
3.10.1-1 both UNSUBSCRIBE has flags 2; others close the connection.
3.10.3-1 both Topic filters of UNSUBSCRIBE are UTF-8, one after the other.
3.10.3-2 both UNSUBSCRIBE holds at least one filter.
3.10.4-1 server Filters of UNSUBSCRIBE are compared character by character.
3.10.4-2 server After UNSUBSCRIBE no new messages are added for the client.
3.10.4-3 server What was begun at QoS 1 or 2 before UNSUBSCRIBE is completed.
3.10.4-4 server UNSUBSCRIBE is answered with UNSUBACK of the same identifier.
3.10.4-5 server UNSUBACK also comes where nothing was removed.
3.10.4-6 server Several filters act as several UNSUBSCRIBE with one UNSUBACK.
3.12.4-1 server PINGREQ is answered with PINGRESP.
3.14.1-1 server The reserved bits of DISCONNECT have to be 0, or the connection is closed.
3.14.4-1 client After DISCONNECT the client closes the connection.
3.14.4-2 client After DISCONNECT the client sends nothing more.
3.14.4-3 server DISCONNECT discards the will.
4.1.0-1 both Session state is kept for the whole session.
4.1.0-2 both A session lasts at least as long as its connection.
4.3.1-1 both QoS 0 is sent with QoS 0 and DUP 0.
4.3.2-1 both The sender of QoS 1: an unused identifier, DUP 0, unacknowledged until PUBACK.
4.3.2-2 both The receiver of QoS 1: PUBACK with the identifier, which may then mean a new message.
4.3.3-1 both The sender of QoS 2: an unused identifier, DUP 0, PUBREL for PUBREC, never PUBLISH after PUBREL.
4.3.3-2 both The receiver of QoS 2: PUBREC, no second delivery before PUBREL, PUBCOMP, then a new message.
4.4.0-1 both After a reconnection unacknowledged PUBLISH and PUBREL are sent again with their identifiers.
4.5.0-1 server A message that was taken is added to the session of every matching subscriber.
4.5.0-2 client A client acknowledges what it gets whether it uses it or not.
4.6.0-1 both What is sent again keeps the order in which it was sent.
4.6.0-2 both PUBACK come in the order of the PUBLISH.
4.6.0-3 both PUBREC come in the order of the PUBLISH.
4.6.0-4 both PUBREL come in the order of the PUBREC.
4.6.0-5 server Every topic is ordered unless an operator says otherwise.
4.6.0-6 server Consumers get the messages of a topic and QoS in the order in which a client sent them.
4.7.1-1 both Wildcards stand in filters, never in topic names.
4.7.1-2 both The many-level wildcard is a whole level and the last one.
4.7.1-3 both The one-level wildcard is a whole level.
4.7.2-1 server Filters that begin with a wildcard do not match topics that begin with $.
4.7.3-1 both Topic names and filters have at least one character.
4.7.3-2 both Topic names and filters do not hold U+0000.
4.7.3-3 both Topic names and filters have at most 65,535 bytes.
4.7.3-4 server Topic names and filters are compared as they are, without any normalisation.
4.8.0-1 both A violation of the protocol closes the connection on which it came.
4.8.0-2 both A transient error while a packet is processed closes the connection on which it came.
6.0.0-1 both WebSocket: packets come in binary frames; others close the connection.
6.0.0-2 both WebSocket: packets and frames need not begin together.
6.0.0-3 client WebSocket: the client offers the subprotocol mqtt.
6.0.0-4 server WebSocket: the server answers with the subprotocol mqtt.
7.0.0-1 both A server that also connects to others obeys the rules for clients there.
7.0.0-2 both Nothing outside the specification is needed to work with it.
7.1.1-1 server The server is reached over an ordered, lossless, two-way stream of bytes.
7.1.2-1 client The client uses an ordered, lossless, two-way stream of bytes.
`;
