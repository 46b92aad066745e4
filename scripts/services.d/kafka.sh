# One private Kafka, broker and controller in one process: .local/NAME/kafka has all that is its own.
# shellcheck shell=bash

kafka_pids() { processes_in "$KAFKA" java; }
kafka_ports() { cat "$KAFKA/ports" 2>/dev/null || true; } # "BROKER CONTROLLER"
kafka_port() { kafka_ports | cut -d' ' -f1; }

# Succeeds when our Kafka holds its port and has said that it started.
kafka_ready() {
  local pids port
  port=$(kafka_port)
  mapfile -t pids < <(kafka_pids)
  [[ -n $port ]] && ((${#pids[@]})) && kafka_started && listens "$port" "${pids[@]}"
}

kafka_started() { grep -q 'Kafka Server started' "$KAFKA/kafka.log" 2>/dev/null; }

kafka_configure() {
  # compose.yaml has the same settings.
  cat >"$KAFKA/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$2
listeners=CLIENT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2
advertised.listeners=CLIENT://127.0.0.1:$1
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
log.dirs=$KAFKA/data
auto.create.topics.enable=false
# A single broker holds the only copy of the internal topics.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=8
group.initial.rebalance.delay.ms=0
# After a kill -9 a broker may come back only when the session of its old self has run out.
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
# Usage of past months is replayed with its own timestamps: retention by time would delete it at once.
log.retention.ms=-1
# The default, 128 MB, is a quarter of the heap below.
log.cleaner.dedupe.buffer.size=33554432
END
}

# Sets JAVA to the command that all of Kafka's programs begin with.
kafka_java() {
  JAVA=(java -XX:-UsePerfData -Djava.net.preferIPv4Stack=true "-Dkafka.log=$KAFKA/kafka.log"
    "-Dlog4j2.configurationFile=$HERE/services.d/kafka-log4j2.properties"
    -cp "$LOCAL/$LIB/kafka/*")
}

kafka_format() {
  [[ ! -e $KAFKA/data/meta.properties ]] || return 0
  rm -rf "$KAFKA/data"
  "${JAVA[@]}" -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format -t "$ID" \
    -c "$KAFKA/server.properties" >"$KAFKA/format.log" 2>&1 ||
    { cat "$KAFKA/format.log" >&2 && die "Kafka could not format its storage"; }
}

# Starts Kafka on the broker's and the controller's ports $1 and $2; without them on those of last
# time, or on others when they are taken. Returns before it is ready: see kafka_wait.
kafka_launch() {
  local old=()
  mkdir -p "$KAFKA"
  kafka_java
  # Whatever is left of a server that crashed, or does not answer.
  stop_processes TERM "$KAFKA" java 10
  read -r -a old < <(kafka_ports) || true
  KAFKA_PORTS=("${1:-$(free_port_like "${old[0]:-}")}" "${2:-$(free_port_like "${old[1]:-}")}")
  kafka_configure "${KAFKA_PORTS[@]}"
  kafka_format
  [[ ! -e $KAFKA/kafka.log ]] || mv -f "$KAFKA/kafka.log" "$KAFKA/kafka.log.1"
  # A session of its own keeps a Ctrl-C away from it; the locks of this script are not for it.
  (cd "$KAFKA" && exec setsid "${JAVA[@]}" -Xmx512m kafka.Kafka server.properties \
    >console.log 2>&1 </dev/null 7>&- 9>&-) &
  disown
}

# Waits until the Kafka that kafka_launch started is ready. Fails when it ended instead.
kafka_wait() {
  local deadline=$((SECONDS + 90)) launched=$SECONDS
  until kafka_started; do
    if [[ -z $(kafka_pids) ]] && ((SECONDS > launched + 1)); then return 1; fi
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
  echo "${KAFKA_PORTS[*]}" >"$KAFKA/ports"
}

# Starts Kafka and waits for it; tries other ports when somebody was quicker to take one.
kafka_start() {
  for _ in {1..5}; do
    kafka_launch "$@"
    ! kafka_wait || return 0
    (($# == 0)) && grep -q 'Address already in use' "$KAFKA/kafka.log" "$KAFKA/console.log" || break
  done
  tail -n 20 "$KAFKA/kafka.log" "$KAFKA/console.log" >&2 || true
  die "Kafka did not start on port ${KAFKA_PORTS[0]}; its log is $KAFKA/kafka.log"
}

kafka_stop() { stop_processes TERM "$KAFKA" java 30; }
kafka_kill() { stop_processes KILL "$KAFKA" java 10; }
