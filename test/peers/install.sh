#!/usr/bin/env bash
# Installs the brokers and clients that the interop tests and the benchmark talk to: Mosquitto, kcat and RabbitMQ as
# Debian packages, Apache Kafka, Artemis, RabbitMQ PerfTest and the HiveMQ client from Maven Central, pika and paho-mqtt
# in a virtual environment, two MQTT clients in Go built from the folders beside this file. Everything but the Debian
# packages lands in .cache/peers of the repository. Running it again does only what is missing; a new version in the lists
# below installs anew. It starts no service and leaves none running.
#
#   test/peers/install.sh                 everything
#   test/peers/install.sh debian kafka    just these parts: debian, go, kafka, artemis, perf-test, hivemq, python, schemathesis
#
# The exit status is the number of parts that failed, so the rest is installed all the same.
set -uo pipefail

cd "$(dirname "$0")/../.."
readonly PEERS="$PWD/.cache/peers"
readonly KAFKA_VERSION=4.3.1
readonly ARTEMIS_VERSION=2.37.0
readonly PERF_TEST_VERSION=2.22.1
readonly HIVEMQ_VERSION=1.3.5
readonly NETTY_VERSION=4.1.118.Final
readonly PIKA_VERSION=1.3.2
readonly PAHO_VERSION=2.1.0
readonly SCHEMATHESIS_VERSION=4.32.5

mkdir -p "$PEERS"
failed=0

say() { printf 'peers: %s\n' "$*"; }

# as_root COMMAND...: root itself, or sudo where it asks no password.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif sudo -n true 2>/dev/null; then sudo -n "$@"; else return 1; fi
}

missing_packages() {
  command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || echo mosquitto
  command -v mosquitto_pub >/dev/null || echo mosquitto-clients
  command -v kcat >/dev/null || echo kcat
  [ -x /usr/sbin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null || echo rabbitmq-server
  # The HiveMQ client's program is compiled when it runs, which takes the whole JDK.
  command -v javac >/dev/null || echo openjdk-17-jdk-headless
  command -v mvn >/dev/null || echo maven
  command -v go >/dev/null || echo golang-go
  command -v curl >/dev/null || echo curl
  command -v python3 >/dev/null || echo python3
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  command -v taskset >/dev/null || echo util-linux
}

# A package's own service would take the ports that the gateway wants. A policy script that exits 101 keeps the
# installer from starting any; it is put there for the time of the installation only, unless the machine has one.
install_debian() {
  local packages policy=/usr/sbin/policy-rc.d placed=no status=0
  packages=$(missing_packages | tr '\n' ' ')
  if [ -z "${packages// /}" ]; then
    say "debian packages: present"
    return 0
  fi
  if ! command -v apt-get >/dev/null; then
    say "debian packages: no apt-get here; install by hand: $packages"
    return 1
  fi
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod 755 "$policy" && placed=yes
  fi
  say "debian packages: installing $packages"
  # shellcheck disable=SC2086
  as_root apt-get update -qq &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages \
      </dev/null >"$PEERS/apt.log" 2>&1 || status=1
  if [ "$placed" = yes ]; then as_root rm -f "$policy"; fi
  # Not at the next boot either, on a machine that has an init system.
  if [ -d /run/systemd/system ]; then
    for service in mosquitto rabbitmq-server epmd.socket epmd; do
      as_root systemctl disable --now "$service" >/dev/null 2>&1
    done
  fi
  if [ "$status" != 0 ]; then tail -n 5 "$PEERS/apt.log" 2>/dev/null; fi
  return "$status"
}

# copy_jars NAME VERSION GROUP:ARTIFACT[:VERSION]...: the artifacts with all they need at run time, in
# .cache/peers/NAME/lib.
copy_jars() {
  local name=$1 version=$2 group artifact own
  shift 2
  local home="$PEERS/$name" pom
  if [ "$(cat "$home/version" 2>/dev/null)" = "$version" ]; then
    say "$name $version: present"
    return 0
  fi
  if ! command -v mvn >/dev/null; then
    say "$name $version: needs Maven"
    return 1
  fi
  say "$name $version: fetching"
  rm -rf "$home"
  mkdir -p "$home"
  pom="$home/pom.xml"
  {
    echo '<project><modelVersion>4.0.0</modelVersion><groupId>peers</groupId>'
    echo "<artifactId>$name</artifactId><version>1</version><dependencies>"
    for artifact in "$@"; do
      IFS=: read -r group artifact own <<<"$artifact"
      echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId>"
      echo "<version>${own:-$version}</version></dependency>"
    done
    echo '</dependencies></project>'
  } >"$pom"
  mvn -B -q -f "$pom" dependency:copy-dependencies -DoutputDirectory="$home/lib" -DincludeScope=runtime \
    </dev/null >"$home/maven.log" 2>&1 || {
    tail -n 5 "$home/maven.log"
    return 1
  }
  echo "$version" >"$home/version"
}

# Its own archive: the broker is started by the scripts in it.
install_artemis() {
  local home="$PEERS/artemis"
  if [ "$(cat "$home/version" 2>/dev/null)" = "$ARTEMIS_VERSION" ]; then
    say "artemis $ARTEMIS_VERSION: present"
    return 0
  fi
  if ! command -v mvn >/dev/null; then
    say "artemis $ARTEMIS_VERSION: needs Maven"
    return 1
  fi
  say "artemis $ARTEMIS_VERSION: fetching"
  rm -rf "$home"
  mkdir -p "$home"
  # Without a project Maven leaves its notes in the folder where it runs.
  (cd "$home" && mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:3.6.1:unpack \
    -Dartifact="org.apache.activemq:apache-artemis:$ARTEMIS_VERSION:zip:bin" -DoutputDirectory="$home") \
    </dev/null >"$home/maven.log" 2>&1 || {
    tail -n 5 "$home/maven.log"
    return 1
  }
  ln -s "apache-artemis-$ARTEMIS_VERSION" "$home/home"
  echo "$ARTEMIS_VERSION" >"$home/version"
}

# install_python NAME "IMPORTS" PACKAGE...: a virtual environment of its own, in .cache/peers/NAME.
install_python() {
  local name=$1 imports=$2
  shift 2
  local home="$PEERS/$name" wanted="$*"
  if [ "$(cat "$home/version" 2>/dev/null)" = "$wanted" ] && "$home/bin/python" -c "import $imports" 2>/dev/null; then
    say "$name: present"
    return 0
  fi
  say "$name: installing $wanted"
  rm -rf "$home"
  python3 -m venv "$home" && "$home/bin/python" -m pip install -q --disable-pip-version-check "$@" </dev/null &&
    echo "$wanted" >"$home/version"
}

# Go from elsewhere is taken as it is; Debian's may be too old for one of the two, which its test then says.
install_go() {
  local home="$PEERS/go" program version wanted status=0
  if ! command -v go >/dev/null; then
    say "Go clients: need Go"
    return 1
  fi
  mkdir -p "$home"
  version=$(GOTOOLCHAIN=local go env GOVERSION)
  for program in paho autopaho; do
    wanted="$version $(cat "test/peers/go/$program/"{go.mod,go.sum,main.go} | sha256sum)"
    if [ -x "$home/$program" ] && [ "$(cat "$home/$program.version" 2>/dev/null)" = "$wanted" ]; then
      say "Go client $program: present"
      continue
    fi
    if [ "$program" = autopaho ] && [ "$(printf '%s\n' go1.21 "$version" | sort -V | head -n 1)" != go1.21 ]; then
      say "Go client $program: needs Go 1.21, and here is $version"
      continue
    fi
    say "Go client $program: building"
    rm -f "$home/$program"
    (cd "test/peers/go/$program" && GOTOOLCHAIN=local go build -trimpath -o "$home/$program" .) </dev/null \
      >"$home/$program.log" 2>&1 && echo "$wanted" >"$home/$program.version" || {
      tail -n 5 "$home/$program.log"
      status=1
    }
  done
  return "$status"
}

# A registry may be slow for a moment, so each part has two tries.
try() {
  "$@" || { sleep 3; "$@"; } || { say "$* FAILED"; failed=$((failed + 1)); }
}

# Compiling takes a processor and the others take the network, so Go builds beside them.
building=
for part in "${@:-debian go kafka artemis perf-test hivemq python schemathesis}"; do
  for name in $part; do
    case "$name" in
      debian) try install_debian ;;
      go)
        (failed=0; try install_go; exit "$failed") &
        building=$!
        ;;
      kafka) try copy_jars kafka "$KAFKA_VERSION" org.apache.kafka:kafka_2.13 org.apache.kafka:kafka-tools \
        org.apache.kafka:kafka-shell ;;
      artemis) try install_artemis ;;
      perf-test) try copy_jars perf-test "$PERF_TEST_VERSION" com.rabbitmq:perf-test ;;
      hivemq) try copy_jars hivemq "$HIVEMQ_VERSION" com.hivemq:hivemq-mqtt-client \
        "io.netty:netty-codec-http:$NETTY_VERSION" ;;
      python) try install_python python 'pika, paho.mqtt' "pika==$PIKA_VERSION" "paho-mqtt==$PAHO_VERSION" ;;
      schemathesis) try install_python schemathesis schemathesis "schemathesis==$SCHEMATHESIS_VERSION" ;;
      *)
        say "no part '$name'; there are debian, go, kafka, artemis, perf-test, hivemq, python, schemathesis"
        failed=$((failed + 1))
        ;;
    esac
  done
done
if [ -n "$building" ]; then wait "$building" || failed=$((failed + 1)); fi
exit "$failed"
