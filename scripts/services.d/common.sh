# What every part of scripts/services needs: messages, packages, processes, ports.
# shellcheck shell=bash

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# Installs Debian packages with apt-get, as root or through sudo. Nothing else on the machine is
# changed. What apt-get says goes to a file and is shown only when it fails.
install_packages() {
  local as_root=() log=$LOCAL/packages.log
  if ! command -v apt-get >/dev/null; then
    die "please install by hand, as this is not Debian: $*"
  fi
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "please install as root: apt-get install $*"
    as_root=(sudo)
  fi
  say "installing with apt-get: $*"
  mkdir -p "$LOCAL"
  if ! "${as_root[@]}" apt-get -q update >"$log" 2>&1 ||
    ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
      --no-install-recommends -o DPkg::Lock::Timeout=300 install "$@" >>"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "apt-get could not install $*; all that it said is in $log"
  fi
}

# Prints the ids of the processes whose working directory is $1 and whose program is called $2.
#
# Postgres (each of its processes) and Kafka stay in a directory that is theirs alone. Unlike a pid
# file this cannot go stale, nor point at a stranger who was given the same number, and it still
# finds a server whose directory somebody deleted.
processes_in() {
  local directory link pid
  directory=$(sed 's/[][*?\\]/\\&/g' <<<"$1")
  while read -r link; do
    pid=${link#/proc/}
    pid=${pid%/cwd}
    case $(readlink "/proc/$pid/exe" 2>/dev/null || true) in
      */"$2" | */"$2 (deleted)") echo "$pid" ;;
    esac
  done < <(find /proc -mindepth 2 -maxdepth 2 -path '/proc/[0-9]*/cwd' \
    \( -lname "$directory" -o -lname "$directory (deleted)" \) 2>/dev/null)
}

# Prints the inodes of the sockets that listen on port $1, on any address.
listeners() {
  local hex
  printf -v hex ':%04X' "$1"
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
    awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { print $10 }' || true
}

# Succeeds when what listens on port $1 is one of the processes $2...: whatever answers on a port is
# not ours merely because it answers.
listens() {
  local inode pid inodes
  inodes=$(listeners "$1")
  shift
  for inode in $inodes; do
    for pid; do
      [[ -z $(find "/proc/$pid/fd" -lname "socket:\[$inode\]" 2>/dev/null) ]] || return 0
    done
  done
  return 1
}

# Prints a port that nobody listens on, below the ports that the kernel gives to clients. Another
# process may still take it first: who binds it tries again with another.
free_port() {
  local port
  for _ in {1..100}; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    if [[ -z $(listeners "$port") ]]; then
      echo "$port"
      return
    fi
  done
  die "found no free port between 20000 and 32000"
}

# Prints $1 when it is a port that nobody listens on, else a free one.
free_port_like() {
  if [[ -n $1 && -z $(listeners "$1") ]]; then echo "$1"; else free_port; fi
}

# Sends signal $1 to the processes that `processes_in $2 $3` finds, and waits until none is left.
# After $4 seconds it kills them.
stop_processes() {
  local signal=$1 directory=$2 program=$3 patience=$4 pids deadline
  mapfile -t pids < <(processes_in "$directory" "$program")
  ((${#pids[@]})) || return 0
  kill -s "$signal" "${pids[@]}" 2>/dev/null || true
  deadline=$((SECONDS + patience))
  while mapfile -t pids < <(processes_in "$directory" "$program") && ((${#pids[@]})); do
    if ((SECONDS >= deadline)); then
      kill -s KILL "${pids[@]}" 2>/dev/null || true
    fi
    sleep 0.1
  done
}

# Reads SQL from standard input and runs it as one transaction in the database apportion on port $1.
# Speaks just enough of the protocol, as there is no psql here: on loopback, where the
# server trusts everyone, it asks nothing in return.
postgres_sql() {
  local port=$1 mark="done-$RANDOM$RANDOM" sql reply fd
  sql=$(cat)
  sql+=$'\n;\n'"select '$mark'"
  local LC_ALL=C # lengths are in bytes
  { exec {fd}<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || return 1
  {
    local user='user\0apportion\0database\0apportion\0\0'
    int32 $((8 + 35))
    int32 196608 # protocol 3.0
    printf '%b' "$user"
    printf 'Q'
    int32 $((5 + ${#sql}))
    printf '%s\0' "$sql"
    printf 'X'
    int32 4
  } >&"$fd" 2>/dev/null || true
  reply=$(tr '\0' '\n' <&"$fd" 2>/dev/null)
  exec {fd}>&-
  # The mark is the last statement's answer: it comes only when everything before it went well.
  if [[ $reply != *"$mark"* ]]; then
    sed -n 's/^M/postgres says: /p' <<<"$reply" >&2
    return 1
  fi
}

int32() {
  local bytes
  printf -v bytes '\\x%02x\\x%02x\\x%02x\\x%02x' \
    $(($1 >> 24 & 255)) $(($1 >> 16 & 255)) $(($1 >> 8 & 255)) $(($1 & 255))
  printf '%b' "$bytes"
}
