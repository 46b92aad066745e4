# Prometheus and promtool, which the tests of the alerts run: Debian's package, unpacked and not installed.
# shellcheck shell=bash

PROMETHEUS=$LOCAL/lib/prometheus

# Downloads a Debian package into the directory $1; without package lists these come first, which takes root.
download_package() {
  local as_root=()
  (cd "$1" && apt-get -q download "$2" >"$LOCAL/packages.log" 2>&1) && return
  ((EUID == 0)) || as_root=(sudo)
  say "updating the package lists with apt-get"
  "${as_root[@]}" apt-get -q update >>"$LOCAL/packages.log" 2>&1 &&
    (cd "$1" && apt-get -q download "$2" >>"$LOCAL/packages.log" 2>&1)
}

fetch_prometheus() {
  local new=$PROMETHEUS.new
  if command -v prometheus >/dev/null && command -v promtool >/dev/null; then return; fi
  mkdir -p "$LOCAL/lib"
  exec 8>"$LOCAL/fetch.lock"
  flock 8
  if [[ ! -d $PROMETHEUS ]]; then
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
      die "please install by hand, as this is not Debian: prometheus, promtool"
    fi
    say "downloading Debian's Prometheus into .local/lib (20 MB)"
    rm -rf "$new"
    mkdir -p "$new"
    if ! download_package "$new" prometheus; then
      tail -n 20 "$LOCAL/packages.log" >&2
      die "apt-get could not download prometheus; all that it said is in $LOCAL/packages.log"
    fi
    dpkg -x "$new"/prometheus_*.deb "$new"
    rm "$new"/prometheus_*.deb
    mv "$new" "$PROMETHEUS"
  fi
  exec 8>&-
}
