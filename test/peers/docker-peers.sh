#!/usr/bin/env bash
# Makes small images of Apache Kafka, RabbitMQ and the Mosquitto clients from what install.sh puts on this machine, for
# tests of docker-compose.yml where no registry of images can be reached. They understand as much of the official
# images' variables and paths as that file uses, and never take their names.
#
#   test/peers/docker-peers.sh kafka TAG
#   test/peers/docker-peers.sh rabbitmq TAG
#   test/peers/docker-peers.sh mosquitto TAG
set -euo pipefail

peer=$1
tag=$2
peers=$(cd "$(dirname "$0")/../.." && pwd)/.cache/peers
# shellcheck source=test/peers/docker-root.sh
. "$(dirname "$0")/docker-root.sh"

readonly SYSTEM_PATH=/usr/local/bin:/usr/sbin:/usr/bin
copy_programs sh bash basename cat chmod cut date dirname env expr grep head hostname id kill ls mkdir printf readlink \
  rm sed sleep tail tr uname
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\n' >"$root/etc/group"

# add_user NAME NUMBER FOLDER...: who owns these folders.
add_user() {
  local name=$1 number=$2
  shift 2
  printf '%s:x:%s:%s::%s:/bin/sh\n' "$name" "$number" "$number" "$1" >>"$root/etc/passwd"
  printf '%s:x:%s:\n' "$name" "$number" >>"$root/etc/group"
  mkdir -p "${@/#/$root}"
  chown -R "$number:$number" "${@/#/$root}"
}

# write_script PATH: of its input.
write_script() {
  mkdir -p "$root$(dirname "$1")"
  cat >"$root$1"
  chmod 755 "$root$1"
}

# Settings by KAFKA_... variables, as the official image reads them: the program that does it is Kafka's own.
make_kafka() {
  local java class
  java=$(dirname "$(dirname "$(readlink -f "$(type -P java)")")")
  copy_folder "$java"
  copy_folder "$peers/kafka/lib" /opt/kafka/libs
  write_script /opt/kafka/bin/start.sh <<'END'
#!/bin/bash
said=$(java -cp '/opt/kafka/libs/*' kafka.docker.KafkaDockerWrapper setup --default-configs-dir /etc/kafka/docker \
  --mounted-configs-dir /mnt/shared/config --final-configs-dir /opt/kafka/config 2>&1) ||
  grep -qi 'already formatted' <<<"$said" || { printf '%s\n' "$said"; exit 1; }
exec java ${KAFKA_HEAP_OPTS:--Xmx512m} -cp '/opt/kafka/libs/*' kafka.Kafka /opt/kafka/config/server.properties
END
  while read -r name class; do
    write_script "/opt/kafka/bin/$name" <<END
#!/bin/sh
exec java -Xmx256m -cp '/opt/kafka/libs/*' org.apache.kafka.tools.$class "\$@"
END
  done <<'END'
kafka-console-consumer.sh consumer.ConsoleConsumer
kafka-topics.sh TopicCommand
END
  add_user appuser 1000 /opt/kafka/config /var/lib/kafka/data /etc/kafka/docker /mnt/shared/config
  import_root "$tag" "ENV PATH=$java/bin:$SYSTEM_PATH" 'ENV CLUSTER_ID=5L6g3nShT-eMCtK--X86sw' 'USER 1000' \
    'VOLUME /var/lib/kafka/data' 'EXPOSE 9092' 'CMD ["/opt/kafka/bin/start.sh"]'
}

# User and password by RABBITMQ_DEFAULT_..., which RabbitMQ itself reads.
make_rabbitmq() {
  local server
  server=$(dirname "$(dirname "$(readlink -f /usr/lib/rabbitmq/bin/rabbitmq-server)")")
  copy_folder /usr/lib/erlang
  copy_folder "$server"
  add_user rabbitmq 999 /var/lib/rabbitmq /var/log/rabbitmq /etc/rabbitmq
  import_root "$tag" "ENV PATH=$server/sbin:/usr/lib/erlang/bin:$SYSTEM_PATH" 'ENV HOME=/var/lib/rabbitmq' \
    'ENV RABBITMQ_LOGS=-' 'ENV LANG=C.UTF-8' 'USER 999' 'VOLUME /var/lib/rabbitmq' 'EXPOSE 5672' 'CMD ["rabbitmq-server"]'
}

make_mosquitto() {
  copy_programs mosquitto_pub mosquitto_sub
  import_root "$tag" "ENV PATH=$SYSTEM_PATH" 'CMD ["mosquitto_sub", "--help"]'
}

case "$peer" in
  kafka | rabbitmq | mosquitto) "make_$peer" ;;
  *)
    echo "no image '$peer'; there are kafka, rabbitmq, mosquitto" >&2
    exit 2
    ;;
esac
echo "$tag: made"
