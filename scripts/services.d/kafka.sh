# The private Kafka: one broker, or as many as KAFKA_NODES said when it was made. Each is broker and controller in one
# process: .local/NAME/kafka has all that is the first one's own, kafka-2 what is the second's.
# shellcheck shell=bash

# Runs the command $2... for the node $1: NODE and KAFKA are its number and its directory then.
at_node() {
  local NODE=$1 KAFKA=$DIR/kafka
  ((NODE == 1)) || KAFKA+=-$NODE
  shift
  "$@"
}

kafka_nodes() { cat "$DIR/nodes" 2>/dev/null || echo 1; }

# Runs a command for each node, or for ONLY_NODE where that is set, until it fails.
for_nodes() {
  local node
  for node in ${ONLY_NODE:-$(seq "$(kafka_nodes)")}; do
    at_node "$node" "$@" || return
  done
}

node_pids() { processes_in "$KAFKA" java; }
node_ports() { cat "$KAFKA/ports" 2>/dev/null || true; } # "BROKER CONTROLLER"
node_port() { node_ports | cut -d' ' -f1; }
kafka_port() { for_nodes node_port | paste -sd, -; }
kafka_brokers() { for_nodes node_port | sed 's/^/127.0.0.1:/' | paste -sd, -; }

# Succeeds when our Kafka holds its ports and has said that it started.
kafka_ready() { for_nodes node_ready; }
node_ready() {
  local pids port
  port=$(node_port)
  mapfile -t pids < <(node_pids)
  [[ -n $port ]] && ((${#pids[@]})) && node_started && listens "$port" "${pids[@]}"
}

node_started() { grep -q 'Kafka Server started' "$KAFKA/kafka.log" 2>/dev/null; }

node_voter() { echo "$NODE@127.0.0.1:$(node_ports | cut -d' ' -f2)"; }

node_configure() {
  local port controller copies voters safe=1
  read -r port controller < <(node_ports)
  copies=$(kafka_nodes)
  ((copies == 1)) || safe=2
  voters=$(ONLY_NODE='' for_nodes node_voter | paste -sd, -)
  # compose.yaml has the same settings.
  cat >"$KAFKA/server.properties" <<END
process.roles=broker,controller
node.id=$NODE
controller.quorum.voters=$voters
listeners=CLIENT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=CLIENT://127.0.0.1:$port
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
log.dirs=$KAFKA/data
auto.create.topics.enable=false
# A single broker holds the only copy of everything; of three, two have what is acknowledged.
default.replication.factor=$copies
min.insync.replicas=$safe
offsets.topic.replication.factor=$copies
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=$safe
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=$safe
share.coordinator.state.topic.num.partitions=8
group.initial.rebalance.delay.ms=0
# After a kill -9 a broker may come back only when the session of its old self has run out.
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
# Usage of past months is replayed with its own timestamps: retention by time would delete it at once.
log.retention.ms=-1
# The default, 128 MB, is a quarter of the heap of one that is alone.
log.cleaner.dedupe.buffer.size=33554432
END
}

# Sets JAVA to the command that all of Kafka's programs begin with.
kafka_java() {
  JAVA=(java -XX:-UsePerfData -Djava.net.preferIPv4Stack=true "-Dkafka.log=$KAFKA/kafka.log"
    "-Dlog4j2.configurationFile=$HERE/services.d/kafka-log4j2.properties"
    -cp "$LOCAL/$LIB/kafka/*")
}

node_format() {
  [[ ! -e $KAFKA/data/meta.properties ]] || return 0
  rm -rf "$KAFKA/data"
  "${JAVA[@]}" -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format -t "$ID" \
    -c "$KAFKA/server.properties" >"$KAFKA/format.log" 2>&1 ||
    { cat "$KAFKA/format.log" >&2 && die "Kafka could not format its storage"; }
}

# Ends what is left of a server that crashed, or does not answer; then takes the ports of last time, or others where
# these are taken. All nodes know the ports of all.
node_choose_ports() {
  local old=()
  mkdir -p "$KAFKA"
  stop_processes TERM "$KAFKA" java 10
  read -r -a old < <(node_ports) || true
  echo "$(free_port_like "${old[0]:-}") $(free_port_like "${old[1]:-}")" >"$KAFKA/ports"
}

# Starts a node on its ports. Returns before it is ready: see node_wait.
node_launch() {
  local heap=512m
  (($(kafka_nodes) == 1)) || heap=256m
  kafka_java
  stop_processes TERM "$KAFKA" java 10
  node_configure
  node_format
  [[ ! -e $KAFKA/kafka.log ]] || mv -f "$KAFKA/kafka.log" "$KAFKA/kafka.log.1"
  # A session of its own keeps a Ctrl-C away from it; the locks of this script are not for it.
  (cd "$KAFKA" && exec setsid "${JAVA[@]}" "-Xmx$heap" kafka.Kafka server.properties \
    >console.log 2>&1 </dev/null 7>&- 9>&-) &
  disown
}

# Waits until the node that node_launch started is ready. Fails when it ended instead.
node_wait() {
  local deadline=$((SECONDS + 90)) launched=$SECONDS
  until node_started; do
    if [[ -z $(node_pids) ]] && ((SECONDS > launched + 1)); then return 1; fi
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# Starts Kafka and waits for it; tries other ports when somebody was quicker to take one. `again`: on those of last time.
kafka_start() {
  for _ in {1..5}; do
    [[ ${1:-} == again ]] || for_nodes node_choose_ports
    for_nodes node_launch
    ! for_nodes node_wait || return 0
    [[ ${1:-} != again ]] && grep -q 'Address already in use' "$DIR"/kafka*/{kafka,console}.log || break
  done
  tail -n 20 "$DIR"/kafka*/{kafka,console}.log >&2 || true
  die "Kafka did not start on port $(kafka_port); its logs are $DIR/kafka*/kafka.log"
}

node_signal() { stop_processes "$1" "$KAFKA" java "$2" & }
# All nodes at once: each needs seconds.
kafka_stop() { for_nodes node_signal TERM 30 && wait; }
kafka_kill() { for_nodes node_signal KILL 10 && wait; }
