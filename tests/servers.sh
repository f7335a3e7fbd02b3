#!/bin/sh
# Puts the real servers that the tests use into $SERVERS, once a machine. What cannot be had is named; in CI that fails.
set -u
mkdir -p "$SERVERS"
missing=""

if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "installing Prometheus from apt"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >/dev/null
        # The tests start their own servers on free ports; the packaged service is not wanted.
        command -v systemctl >/dev/null && systemctl disable --now prometheus >/dev/null 2>&1
    fi
    command -v promtool >/dev/null || missing="$missing Prometheus and promtool (apt-get install prometheus)"
fi

for package in prometheus-alertmanager prometheus-pushgateway; do
    command -v $package >/dev/null && continue
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "installing $package from apt"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $package >/dev/null
        command -v systemctl >/dev/null && systemctl disable --now $package >/dev/null 2>&1
    fi
    command -v $package >/dev/null || missing="$missing $package (apt-get install $package)"
done

# name, module: a binary that is not called after its module is given its name
build() {
    [ -x "$SERVERS/$1" ] && return
    if command -v go >/dev/null; then
        echo "building $1, a minute or more, once a machine"
        built="$(mktemp -d)"
        GOBIN="$built" go install "$2" && mv "$built"/* "$SERVERS/$1"
        rm -rf "$built"
    fi
    [ -x "$SERVERS/$1" ] || missing="$missing $1 (needs Go: go install $2)"
}

build kustomize "$KUSTOMIZE_MODULE"
build minio "$MINIO_MODULE"
build versitygw "$VERSITYGW_MODULE"
build toxiproxy "$TOXIPROXY_MODULE"

if ! command -v chromium >/dev/null; then
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "installing Chromium from apt"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
    fi
    command -v chromium >/dev/null || missing="$missing Chromium (apt-get install chromium)"
fi

if [ -n "$missing" ]; then
    echo "not on this machine, tests that need them are skipped:$missing" >&2
    [ "${CI:-}" = true ] && exit 1
fi
exit 0
