# SERVICES=docker: the same two servers from compose.yaml.
# shellcheck shell=bash

compose() {
  APPORTION_SERVICES_ID=$ID APPORTION_POSTGRES_PORT=$(postgres_port) APPORTION_KAFKA_PORT=$(kafka_port) \
    docker compose -p "apportion-$NAME-$CHECKOUT_ID" -f "$CHECKOUT/compose.yaml" "$@"
}

postgres_port() { sed -n 1p "$DIR/ports"; }
kafka_port() { sed -n 2p "$DIR/ports"; }
kafka_brokers() { echo "127.0.0.1:$(kafka_port)"; }

# The published ports are chosen once and kept, so that two checkouts never want the same.
compose_init() {
  docker compose version >/dev/null 2>&1 ||
    die "SERVICES=docker needs Docker with its compose plugin"
  [[ -e $DIR/ports ]] || printf '%s\n' "$(free_port)" "$(free_port)" >"$DIR/ports"
}

compose_running() { # SERVICE
  [[ -e $DIR/ports && $(compose ps --status running --services 2>/dev/null) =~ (^|$'\n')"$1"($|$'\n') ]]
}

postgres_ready() { compose_running postgres; }
kafka_ready() { compose_running kafka; }
postgres_start() { compose up -d --wait --quiet-pull postgres >&2; }
kafka_start() { compose up -d --wait --quiet-pull kafka >&2; }
postgres_stop() { compose stop postgres >&2; }
kafka_stop() { compose stop kafka >&2; }
postgres_kill() { compose kill postgres >&2; }
kafka_kill() { compose kill kafka >&2; }
compose_destroy() { [[ ! -e $DIR/ports ]] || compose down --volumes >&2; }
