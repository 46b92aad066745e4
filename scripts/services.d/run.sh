# `scripts/services run`: a command with its own servers around it.
# shellcheck shell=bash

run() {
  local external=
  if [[ ${1:-} == --only ]]; then
    only "${2:-}"
    shift 2
  fi
  (($# >= 3)) && [[ $2 == -- ]] || die "usage: scripts/services run NAME -- COMMAND..."
  if [[ -n ${DATABASE_URL:-} && -n ${KAFKA_BROKERS:-} ]]; then
    external=yes
  elif [[ -n ${DATABASE_URL:-}${KAFKA_BROKERS:-} ]]; then
    die "only one of DATABASE_URL and KAFKA_BROKERS is set: set both to use servers of yours, or none"
  fi
  if [[ $external ]]; then
    say "using the servers that DATABASE_URL and KAFKA_BROKERS name"
    shift 2
    export APPORTION_SERVICES=given
    exec "$@"
  fi
  choose "$1"
  shift 2

  # A second run of the same name would have its servers stopped by the first.
  exec 7>"$DIR/run.lock"
  if ! flock -n 7; then
    say "$NAME: another run is using it; waiting"
    flock 7
  fi
  trap finish EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  up
  set -a
  # shellcheck source=/dev/null
  source "$DIR/env"
  set +a
  export APPORTION_SERVICES_RUN=$NAME
  supervise "$@"
}

# Stops what this run and its command started; what `up` started before stays.
finish() {
  local status=$? owner
  trap '' HUP INT TERM
  set +e
  for owner in "$LOCAL"/*/run; do
    [[ ! -e $owner || $(<"$owner") != "$NAME" ]] || destroy_in "${owner%/run}"
  done
  if [[ ! -e $DIR/keep ]]; then
    exec 9>&- # an interrupted `up` may still hold it
    down
  fi
  exit "$status"
}

# Runs a command to its end, whatever signals come, and returns its status.
#
# The command gets a process group of its own. On a terminal that group is in the foreground, so that
# Ctrl-C reaches the command alone: it may end in its own way and with its own status, and neither
# this script nor the `make` around it is interrupted. Without a terminal, signals are passed on.
supervise() {
  local status=0 again
  set -m
  if [[ -t 0 && -t 2 ]]; then
    "$@" 7>&- || status=$?
  else
    "$@" 7>&- &
    CHILD=$!
    for again in HUP INT TERM; do
      # shellcheck disable=SC2064
      trap "SIGNALLED=yes; kill -s $again -- -$CHILD 2>/dev/null || true" "$again"
    done
    while :; do
      SIGNALLED=
      wait "$CHILD" && again=0 || again=$?
      # 127: the wait before already had its status, though a signal came in between.
      ((again == 127)) || status=$again
      [[ $SIGNALLED ]] && ((again != 127)) || break
    done
  fi
  set +m
  return "$status"
}
