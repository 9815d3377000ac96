/**
 * The numbered statements of MQTT 5.0 (its Appendix B, and those that stand only in the text), one a line: number,
 * whom it binds, what it asks for in our words. `both` also stands where a rule for clients is one that a server has to
 * enforce. There is no 2.2.1-1. Read by `statements.ts`.
 */

export const STATEMENTS_5_0 = `
1.5.4-1 both Strings are well-formed UTF-8 without surrogates.
1.5.4-2 both Strings do not hold U+0000.
1.5.4-3 both A byte order mark is an ordinary character and is not stripped.
1.5.5-1 both Variable byte integers take as few bytes as they can.
1.5.7-1 both Both strings of a pair are UTF-8 strings.
2.1.3-1 both Reserved flags have the listed values.
2.2.1-2 both PUBLISH of QoS 0 carries no identifier.
2.2.1-3 both A new SUBSCRIBE, UNSUBSCRIBE or PUBLISH above QoS 0 has an unused identifier that is not 0.
2.2.1-4 server A new PUBLISH above QoS 0 of the server has an unused identifier that is not 0.
2.2.1-5 both PUBACK, PUBREC, PUBREL and PUBCOMP carry the identifier of the PUBLISH.
2.2.1-6 server SUBACK and UNSUBACK carry the identifier of what they answer.
2.2.2-1 both No properties are said by the length 0.
3.1.0-1 both The first packet is CONNECT.
3.1.0-2 both A second CONNECT is a protocol error and closes the connection.
3.1.2-1 both The protocol name is MQTT; with another the connection is closed.
3.1.2-2 server Another protocol version is refused and the connection closed.
3.1.2-3 server The reserved connect flag has to be 0.
3.1.2-4 both Clean start 1 discards an existing session and begins a new one.
3.1.2-5 server Clean start 0 resumes the session that there is.
3.1.2-6 server Clean start 0 without a session begins one.
3.1.2-7 server A will is stored with the session.
3.1.2-8 server A will is published after the close, its delay or the end of the session, unless taken back.
3.1.2-9 both With the will flag, will properties, topic and payload are there.
3.1.2-10 server A will is forgotten once it is published or a normal DISCONNECT has come.
3.1.2-11 both Without the will flag the will QoS is 0.
3.1.2-12 both The will QoS is 0, 1 or 2, not 3.
3.1.2-13 both Without the will flag will retain is 0.
3.1.2-14 server A will without retain is published as a message that is not retained.
3.1.2-15 server A will with retain is published as a retained message.
3.1.2-16 both Without its flag there is no user name.
3.1.2-17 both With its flag there is a user name.
3.1.2-18 both Without its flag there is no password.
3.1.2-19 both With its flag there is a password.
3.1.2-20 client The client sends PINGREQ where it has nothing else to send.
3.1.2-21 client The client uses the keep alive that the server gives.
3.1.2-22 server After one and a half times the keep alive without a packet the connection is closed.
3.1.2-23 both Session state is kept after the close where the session expiry interval is above 0.
3.1.2-24 server No packet is larger than the client's maximum packet size.
3.1.2-25 server A message that is too large is dropped as if it had been sent.
3.1.2-26 server No topic alias is above the client's maximum.
3.1.2-27 server Without a topic alias maximum no aliases are sent.
3.1.2-28 server Without being asked the server returns no response information.
3.1.2-29 server Without request problem information reason strings and user properties are left out.
3.1.2-30 client With an authentication method nothing but AUTH and DISCONNECT comes before CONNACK.
3.1.3-1 both The fields of the payload stand in their order.
3.1.3-2 both The client identifier names the session.
3.1.3-3 both The client identifier is there and first in the payload.
3.1.3-4 both The client identifier is UTF-8.
3.1.3-5 server Identifiers of 1 to 23 letters and digits are accepted.
3.1.3-6 server A client with an empty identifier gets one of its own.
3.1.3-7 server The assigned identifier is told in CONNACK and used as the client's.
3.1.3-8 server A refused identifier is followed by the close.
3.1.3-9 server A will is not sent where the session is resumed before its delay is over.
3.1.3-10 server The order of the will's user properties is kept.
3.1.3-11 both The will topic is UTF-8.
3.1.3-12 both The user name is UTF-8.
3.1.4-1 server A CONNECT that is not well formed closes the connection.
3.1.4-2 server A CONNECT that fails further checks closes the connection.
3.1.4-3 server An older connection of the same identifier gets DISCONNECT 0x8E and is closed.
3.1.4-4 server Clean start is processed as 3.1.2.4 says.
3.1.4-5 server An accepted CONNECT is answered with reason code 0.
3.1.4-6 server After a refusal nothing but AUTH that the client sends is processed.
3.2.0-1 server CONNACK with success comes before any packet but AUTH.
3.2.0-2 server There is one CONNACK on a connection at most.
3.2.2-1 server Bits 7 to 1 of the acknowledge flags are 0.
3.2.2-2 server Clean start 1 is answered with session present 0.
3.2.2-3 server Clean start 0 is answered with session present 1 where there is a session, otherwise 0.
3.2.2-4 client A client without state that is told of a session closes the connection.
3.2.2-5 client A client with state that is told of no session discards its own.
3.2.2-6 server A refusal has session present 0.
3.2.2-7 server A reason code from 0x80 on is followed by the close.
3.2.2-8 server CONNACK uses one of the connect reason codes.
3.2.2-9 server Maximum QoS is told where QoS 1 or 2 is not supported.
3.2.2-10 server SUBSCRIBE with QoS 0, 1 and 2 is accepted whatever is supported.
3.2.2-11 client The client stays within the maximum QoS.
3.2.2-12 server A will QoS above what is supported is refused.
3.2.2-13 server A retained will is refused where retained messages are not supported.
3.2.2-14 client The client retains nothing where that is not available.
3.2.2-15 both The client stays within the server's maximum packet size.
3.2.2-16 server An empty identifier is answered with a new one that no other session has.
3.2.2-17 both The client stays within the server's topic alias maximum.
3.2.2-18 both Without a topic alias maximum the client sends no aliases.
3.2.2-19 server The reason string of CONNACK is left out where the packet would be too large.
3.2.2-20 server The user properties of CONNACK are left out where the packet would be too large.
3.2.2-21 server A server keep alive is the one that counts.
3.2.2-22 server Without a server keep alive the client's counts.
3.3.1-1 both DUP is set when a PUBLISH is sent again.
3.3.1-2 both DUP is 0 at QoS 0.
3.3.1-3 server DUP is not passed on from the publisher.
3.3.1-4 both QoS 3 is malformed.
3.3.1-5 server A retained message replaces the one before and is stored.
3.3.1-6 server An empty retained message is delivered and removes what was retained.
3.3.1-7 server An empty message is not kept as a retained one.
3.3.1-8 server A message without retain neither is kept nor removes or replaces what is.
3.3.1-9 server Retain handling 0: retained messages are sent.
3.3.1-10 server Retain handling 1: retained messages are sent where the subscription is new.
3.3.1-11 server Retain handling 2: retained messages are not sent.
3.3.1-12 server Retain as published 0: retain is 0 in what is forwarded.
3.3.1-13 server Retain as published 1: retain is as it was published.
3.3.2-1 both The topic name comes first and is UTF-8.
3.3.2-2 both A topic name holds no wildcards.
3.3.2-3 server The topic name that a subscriber gets matches its filter.
3.3.2-4 server The payload format indicator is forwarded unaltered.
3.3.2-5 server What expires before its delivery has begun is deleted.
3.3.2-6 server The expiry interval is forwarded less the time that the message has waited.
3.3.2-7 both Topic aliases are forgotten with their connection.
3.3.2-8 both A topic alias is not 0.
3.3.2-9 both A client's topic alias is not above the server's maximum.
3.3.2-10 client The client takes every alias up to its maximum.
3.3.2-11 server A server's topic alias is not above the client's maximum.
3.3.2-12 server The server takes every alias up to its maximum.
3.3.2-13 both The response topic is UTF-8.
3.3.2-14 both The response topic holds no wildcards.
3.3.2-15 server The response topic is forwarded unaltered.
3.3.2-16 server Correlation data are forwarded unaltered.
3.3.2-17 server User properties are forwarded unaltered.
3.3.2-18 server The order of user properties is kept.
3.3.2-19 both The content type is UTF-8.
3.3.2-20 server The content type is forwarded unaltered.
3.3.4-1 both A PUBLISH is answered as its QoS asks.
3.3.4-2 server Overlapping subscriptions: the highest QoS of those that match.
3.3.4-3 server Overlapping subscriptions: their identifiers are sent.
3.3.4-4 server One copy carries the identifiers of all matching subscriptions.
3.3.4-5 server Several copies carry each the identifier of its subscription.
3.3.4-6 both A client's PUBLISH carries no subscription identifier.
3.3.4-7 both The client stays within the server's receive maximum.
3.3.4-8 client The client delays nothing but PUBLISH because of it.
3.3.4-9 server The server stays within the client's receive maximum.
3.3.4-10 server The server delays nothing but PUBLISH because of it.
3.4.2-1 both PUBACK uses one of its reason codes.
3.4.2-2 both The reason string of PUBACK is left out where the packet would be too large.
3.4.2-3 both The user properties of PUBACK are left out where the packet would be too large.
3.5.2-1 both PUBREC uses one of its reason codes.
3.5.2-2 both The reason string of PUBREC is left out where the packet would be too large.
3.5.2-3 both The user properties of PUBREC are left out where the packet would be too large.
3.6.1-1 both PUBREL has flags 2; others close the connection.
3.6.2-1 both PUBREL uses one of its reason codes.
3.6.2-2 both The reason string of PUBREL is left out where the packet would be too large.
3.6.2-3 both The user properties of PUBREL are left out where the packet would be too large.
3.7.2-1 both PUBCOMP uses one of its reason codes.
3.7.2-2 both The reason string of PUBCOMP is left out where the packet would be too large.
3.7.2-3 both The user properties of PUBCOMP are left out where the packet would be too large.
3.8.1-1 both SUBSCRIBE has flags 2; others close the connection.
3.8.3-1 both Topic filters of SUBSCRIBE are UTF-8.
3.8.3-2 both SUBSCRIBE holds at least one filter.
3.8.3-3 server No local: a client does not get what it published itself.
3.8.3-4 both No local on a shared subscription is a protocol error.
3.8.3-5 server Reserved option bits in SUBSCRIBE are malformed.
3.8.4-1 server SUBSCRIBE is answered with SUBACK.
3.8.4-2 server SUBACK has the identifier of SUBSCRIBE.
3.8.4-3 server The same filter again replaces the subscription.
3.8.4-4 server With retain handling 0 retained messages are sent again and no message is lost.
3.8.4-5 server Several filters act as several SUBSCRIBE with one SUBACK.
3.8.4-6 server SUBACK has a reason code for each filter.
3.8.4-7 server The reason code is the QoS granted or the failure.
3.8.4-8 server Messages come at the lower of the published and the granted QoS.
3.9.2-1 server The reason string of SUBACK is left out where the packet would be too large.
3.9.2-2 server The user properties of SUBACK are left out where the packet would be too large.
3.9.3-1 server The codes of SUBACK stand in the order of the filters.
3.9.3-2 server SUBACK uses one of its reason codes for each filter.
3.10.1-1 both UNSUBSCRIBE has flags 2; others close the connection.
3.10.3-1 both Topic filters of UNSUBSCRIBE are UTF-8.
3.10.3-2 both UNSUBSCRIBE holds at least one filter.
3.10.4-1 server Filters of UNSUBSCRIBE are compared character by character.
3.10.4-2 server After UNSUBSCRIBE no new messages are added for the client.
3.10.4-3 server What was begun at QoS 1 or 2 before UNSUBSCRIBE is completed.
3.10.4-4 server UNSUBSCRIBE is answered with UNSUBACK.
3.10.4-5 server UNSUBACK has the same identifier, and comes where nothing was removed too.
3.10.4-6 server Several filters act as several UNSUBSCRIBE with one UNSUBACK.
3.11.2-1 server The reason string of UNSUBACK is left out where the packet would be too large.
3.11.2-2 server The user properties of UNSUBACK are left out where the packet would be too large.
3.11.3-1 server The codes of UNSUBACK stand in the order of the filters.
3.11.3-2 server UNSUBACK uses one of its reason codes for each filter.
3.12.4-1 server PINGREQ is answered with PINGRESP.
3.14.0-1 server No DISCONNECT is sent before a CONNACK with success.
3.14.1-1 both The reserved bits of DISCONNECT have to be 0; otherwise DISCONNECT 0x81.
3.14.2-1 both DISCONNECT uses one of its reason codes.
3.14.2-2 server A server's DISCONNECT carries no session expiry interval.
3.14.2-3 both The reason string of DISCONNECT is left out where the packet would be too large.
3.14.2-4 both The user properties of DISCONNECT are left out where the packet would be too large.
3.14.4-1 both After DISCONNECT its sender sends nothing more.
3.14.4-2 both After DISCONNECT its sender closes the connection.
3.14.4-3 server DISCONNECT with reason code 0 discards the will.
3.15.1-1 both The reserved bits of AUTH have to be 0; otherwise the connection is closed.
3.15.2-1 both AUTH uses one of its reason codes.
3.15.2-2 both The reason string of AUTH is left out where the packet would be too large.
3.15.2-3 both The user properties of AUTH are left out where the packet would be too large.
4.1.0-1 both Session state is not discarded while the connection is open.
4.1.0-2 server Session state is discarded when its expiry interval has passed.
4.2.0-1 both The transport is an ordered, lossless, two-way stream of bytes.
4.3.1-1 both QoS 0 is sent with QoS 0 and DUP 0.
4.3.2-1 both The sender of QoS 1 takes an unused identifier for a new message.
4.3.2-2 both The sender of QoS 1 sends PUBLISH with the identifier and DUP 0.
4.3.2-3 both The sender of QoS 1 holds it for unacknowledged until PUBACK.
4.3.2-4 both The receiver of QoS 1 answers PUBACK when it has taken the message.
4.3.2-5 both After PUBACK the same identifier means a new message, whatever DUP says.
4.3.3-1 both The sender of QoS 2 takes an unused identifier for a new message.
4.3.3-2 both The sender of QoS 2 sends PUBLISH with the identifier and DUP 0.
4.3.3-3 both The sender of QoS 2 holds it for unacknowledged until PUBREC.
4.3.3-4 both The sender of QoS 2 sends PUBREL for a PUBREC below 0x80.
4.3.3-5 both The sender of QoS 2 holds PUBREL for unacknowledged until PUBCOMP.
4.3.3-6 both The sender of QoS 2 does not send PUBLISH again after PUBREL.
4.3.3-7 both The sender of QoS 2 does not let expire what it has sent.
4.3.3-8 both The receiver of QoS 2 answers PUBREC when it has taken the message.
4.3.3-9 both After a PUBREC from 0x80 on the identifier means a new message.
4.3.3-10 both Until PUBREL the receiver answers repeats with PUBREC and delivers nothing twice.
4.3.3-11 both The receiver answers PUBREL with PUBCOMP of the same identifier.
4.3.3-12 both After PUBCOMP the identifier means a new message.
4.3.3-13 both The receiver completes the exchange even where the message has expired.
4.4.0-1 both Only after a reconnection unacknowledged PUBLISH and PUBREL are sent again, with their identifiers.
4.4.0-2 both PUBACK or PUBREC from 0x80 on acknowledge too: the message is not sent again.
4.5.0-1 server A message that was taken is added to the session of every matching subscriber.
4.5.0-2 client A client acknowledges what it gets whether it uses it or not.
4.6.0-1 both What is sent again keeps the order in which it was sent.
4.6.0-2 both PUBACK come in the order of the PUBLISH.
4.6.0-3 both PUBREC come in the order of the PUBLISH.
4.6.0-4 both PUBREL come in the order of the PUBREC.
4.6.0-5 server Consumers get the messages of a topic and QoS in the order in which a client sent them.
4.6.0-6 server Every topic is ordered for subscriptions that are not shared.
4.7.0-1 both Wildcards stand in filters, never in topic names.
4.7.1-1 both The many-level wildcard is a whole level and the last one.
4.7.1-2 both The one-level wildcard is a whole level.
4.7.2-1 server Filters that begin with a wildcard do not match topics that begin with $.
4.7.3-1 both Topic names and filters have at least one character.
4.7.3-2 both Topic names and filters do not hold U+0000.
4.7.3-3 both Topic names and filters have at most 65,535 bytes.
4.7.3-4 server Topic names and filters are compared as they are, without any normalisation.
4.8.2-1 both A shared filter is $share/, a name of at least one character, and more.
4.8.2-2 both The share name holds no /, + or #, and a filter follows it.
4.8.2-3 server A shared message comes at the QoS that the member was granted.
4.8.2-4 server QoS 2: what was begun with a member is completed with it when it comes back.
4.8.2-5 server QoS 2: where the member's session ends, the message goes to no other.
4.8.2-6 server What a member refuses with 0x80 or above goes to no other.
4.9.0-1 both The send quota begins with what the receive maximum allows.
4.9.0-2 both At a quota of zero no PUBLISH above QoS 0 is sent.
4.9.0-3 both At a quota of zero all other packets are processed and answered.
4.12.0-1 server An authentication method that is not supported is refused and the connection closed.
4.12.0-2 server The server goes on with AUTH 0x18.
4.12.0-3 both The client goes on with AUTH 0x18.
4.12.0-4 server A refused authentication closes the connection.
4.12.0-5 both Every AUTH, and CONNACK with success, name the method of CONNECT.
4.12.0-6 server Without a method in CONNECT the server sends no AUTH and no method.
4.12.0-7 both Without a method in CONNECT the client sends no AUTH.
4.12.1-1 both Authentication anew begins with AUTH 0x19 and the same method.
4.12.1-2 both Where it fails the connection is closed.
4.13.1-1 server A malformed packet or protocol error closes the connection.
4.13.2-1 both A reason code from 0x80 on in CONNACK or DISCONNECT goes with the close.
6.0.0-1 both WebSocket: packets come in binary frames; others close the connection.
6.0.0-2 both WebSocket: packets and frames need not begin together.
6.0.0-3 client WebSocket: the client offers the subprotocol mqtt.
6.0.0-4 server WebSocket: the server answers with the subprotocol mqtt.
`;
