# Brings the servers' programs into .local/lib, and says where each of them lies.
# shellcheck shell=bash

POM=$HERE/services-pom.xml

case $(uname -m) in
  x86_64) ARCH=amd64 ;;
  aarch64) ARCH=arm64v8 ;;
  *) ARCH= ;;
esac

# One directory for each content of the pom: a change of versions does not pull the programs away
# from under a server that still runs the old ones.
LIB=lib/$(sha256sum <"$POM" | cut -c1-12)

# initdb refuses root, so root runs Postgres as `nobody`, who must be able to reach its programs and
# its data. Where the checkout is closed to others (below /root, say), both lie in /var/tmp.
if ((EUID == 0)); then
  AS_POSTGRES=(setpriv --reuid="$(id -u nobody)" --regid="$(id -g nobody)" --clear-groups --)
else
  AS_POSTGRES=()
fi

# Sets POSTGRES_ROOT: .local, or the directory that stands in for it.
find_postgres_root() {
  POSTGRES_ROOT=$LOCAL
  if ((EUID == 0)) && ! "${AS_POSTGRES[@]}" test -x "$LOCAL"; then
    POSTGRES_ROOT=/var/tmp/apportion-$CHECKOUT_ID
    if [[ ! -d $POSTGRES_ROOT ]]; then
      mkdir -m 755 "$POSTGRES_ROOT"
      say "this directory is closed to the user nobody: Postgres lives in $POSTGRES_ROOT"
    fi
    # Anyone may make a directory in /var/tmp.
    [[ -O $POSTGRES_ROOT && ! -L $POSTGRES_ROOT ]] || die "$POSTGRES_ROOT is not root's: remove it"
    echo "$POSTGRES_ROOT" >"$LOCAL/postgres-root"
  fi
}

java_is_recent() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p;T;q')
  [[ -n $version ]] && ((version >= 17))
}

# Kafka runs on Java 17 or later.
need_java() {
  command -v java >/dev/null || install_packages "$@" default-jre-headless
  java_is_recent || die "Kafka needs Java 17 or later, and the \`java\` on PATH is older"
}

need_tools() {
  local missing=()
  command -v mvn >/dev/null || missing+=(maven)
  command -v xz >/dev/null || missing+=(xz-utils)
  if command -v java >/dev/null; then
    ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
  fi
  need_java "${missing[@]}"
}

fetch() {
  local new
  [[ -n $ARCH ]] || die "there are no Postgres programs for $(uname -m): set DATABASE_URL and KAFKA_BROKERS"
  if [[ ! -d $LOCAL/$LIB ]]; then
    exec 8>"$LOCAL/fetch.lock"
    flock 8
  fi
  if [[ ! -d $LOCAL/$LIB ]]; then
    need_tools
    say "downloading Postgres and Kafka into .local/lib (60 MB)"
    new=$LOCAL/$LIB.new
    rm -rf "$new"
    mkdir -p "$new/postgres"
    # Maven's own repository lies here too: ~/.m2 is not ours to fill.
    if ! mvn -B -q -ntp -Dstyle.color=never -Dmaven.repo.local="$LOCAL/m2" -f "$POM" \
      -Dlib="$new" -Dpostgres.arch="$ARCH" package >"$LOCAL/fetch.log" 2>&1; then
      tail -n 20 "$LOCAL/fetch.log" >&2
      die "Maven could not fetch what scripts/services-pom.xml names"
    fi
    tar -xJf "$new"/postgres-archive/postgres-*.txz -C "$new/postgres" --no-same-owner
    rm -rf "$new/postgres-archive"
    mv "$new" "$LOCAL/$LIB"
  fi
  exec 8>&-
  need_java
  if [[ $POSTGRES_ROOT != "$LOCAL" && ! -d $POSTGRES_ROOT/$LIB ]]; then
    mkdir -p "$POSTGRES_ROOT/$LIB.new"
    cp -a "$LOCAL/$LIB/postgres" "$POSTGRES_ROOT/$LIB.new/"
    mv "$POSTGRES_ROOT/$LIB.new" "$POSTGRES_ROOT/$LIB"
  fi
}
