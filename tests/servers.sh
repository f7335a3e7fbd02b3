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

if ! command -v prometheus-alertmanager >/dev/null; then
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "installing Alertmanager from apt"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus-alertmanager >/dev/null
        command -v systemctl >/dev/null && systemctl disable --now prometheus-alertmanager >/dev/null 2>&1
    fi
    command -v prometheus-alertmanager >/dev/null || missing="$missing Alertmanager (apt-get install prometheus-alertmanager)"
fi

if [ ! -x "$SERVERS/minio" ]; then
    if command -v go >/dev/null; then
        echo "building MinIO, about three minutes, once a machine"
        GOBIN="$SERVERS" go install "$MINIO_MODULE"
    fi
    [ -x "$SERVERS/minio" ] || missing="$missing MinIO (needs Go: go install $MINIO_MODULE)"
fi

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
