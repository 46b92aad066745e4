# One private Postgres: $POSTGRES_ROOT/NAME/postgres has its data, its log and its port.
# shellcheck shell=bash

postgres_pids() { processes_in "$POSTGRES/data" postgres; }
postgres_port() { cat "$POSTGRES/port" 2>/dev/null || true; }

# Succeeds when our Postgres listens on its port and answers.
postgres_ready() {
  local pids port
  port=$(postgres_port)
  mapfile -t pids < <(postgres_pids)
  [[ -n $port ]] && ((${#pids[@]})) && listens "$port" "${pids[@]}" &&
    postgres_sql "$port" <<<'select 1' 2>/dev/null
}

postgres_init() {
  local new=$POSTGRES/data.new bin=$POSTGRES_ROOT/$LIB/postgres/bin
  [[ ! -d $POSTGRES/data ]] || return 0
  rm -rf "$new"
  mkdir -p "$POSTGRES"
  ((EUID != 0)) || chown nobody "$POSTGRES"
  # The builtin C.UTF-8 sorts by code point on every machine; the C library is not asked.
  (cd / && "${AS_POSTGRES[@]}" "$bin/initdb" -D "$new" -U apportion --auth=trust --encoding=UTF8 \
    --locale-provider=builtin --locale=C.UTF-8 --no-sync --no-instructions >"$DIR/initdb.log" 2>&1) ||
    { cat "$DIR/initdb.log" >&2 && die "initdb failed"; }
  echo "include = 'apportion.conf'" >>"$new/postgresql.conf"
  : >"$new/apportion.conf"
  ((EUID != 0)) || chown nobody "$new/apportion.conf"
  (cd / && echo 'create database apportion' |
    "${AS_POSTGRES[@]}" "$bin/postgres" --single -D "$new" postgres >>"$DIR/initdb.log" 2>&1)
  mv "$new" "$POSTGRES/data"
}

postgres_configure() {
  # compose.yaml has the same settings. Durability is Postgres's own, switched on unless POSTGRES_FSYNC=off
  # says otherwise: the crash tests are worth nothing without it.
  cat >"$POSTGRES/data/apportion.conf" <<END
cluster_name = '$ID'
listen_addresses = '127.0.0.1'
port = $1
unix_socket_directories = ''
max_connections = 100
shared_buffers = 256MB
max_wal_size = 4GB
wal_compression = pglz
fsync = ${POSTGRES_FSYNC:-on}
timezone = 'UTC'
log_timezone = 'UTC'
END
}

# Starts Postgres on port $1; without it on the port of last time, or on another when that is taken.
postgres_start() {
  local port log=$POSTGRES/postgres.log bin=$POSTGRES_ROOT/$LIB/postgres/bin
  # Whatever is left of a server that crashed, or does not answer, or whose data somebody deleted.
  stop_processes INT "$POSTGRES/data" postgres 10
  postgres_init
  rm -f "$POSTGRES/data/postmaster.pid"
  for _ in {1..5}; do
    port=${1:-$(free_port_like "$(postgres_port)")}
    [[ ! -e $log ]] || mv -f "$log" "$log.1"
    postgres_configure "$port"
    # Servers must not inherit the locks of this script.
    if (cd / && "${AS_POSTGRES[@]}" "$bin/pg_ctl" start -s -w -t 120 -D "$POSTGRES/data" -l "$log" \
      >/dev/null 2>&1 </dev/null 7>&- 9>&-); then
      echo "$port" >"$POSTGRES/port"
      return
    fi
    [[ -z ${1:-} ]] && grep -q 'could not bind\|could not create any TCP' "$log" || break
  done
  tail -n 20 "$log" >&2 || true
  die "Postgres did not start on port $port; its log is $log"
}

# A fast shutdown: open transactions are rolled back and a checkpoint is written.
postgres_stop() {
  local pid
  pid=$(head -n 1 "$POSTGRES/data/postmaster.pid" 2>/dev/null || true)
  # Not to a stranger who has the number of a server that crashed.
  if [[ -n $pid && $'\n'$(postgres_pids)$'\n' == *$'\n'$pid$'\n'* ]]; then
    kill -s INT "$pid"
    for _ in {1..300}; do
      [[ -n $(postgres_pids) ]] || return 0
      sleep 0.1
    done
  fi
  stop_processes INT "$POSTGRES/data" postgres 10
}

postgres_kill() { stop_processes KILL "$POSTGRES/data" postgres 10; }
