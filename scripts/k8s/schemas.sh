#!/bin/sh
# Makes k8s/schemas anew: what CloudNativePG's operator demands of a Cluster, in the oldest version
# that we say we run on and in the newest. Both are in the operator's Go module, which carries the
# manifests of its former releases too, and come through Go's own client, which checks the module
# against the public sum database. Run it to raise a version; the tests need neither Go nor network.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
module=github.com/cloudnative-pg/cloudnative-pg@v1.30.0
releases="1.26.0 1.30.0"

tools=$("$here/tools.sh")
found=$(GOFLAGS='' go mod download -json "$module")
field() { printf '%s' "$found" | sed -n "s/^.*\"$1\": \"\(.*\)\",*$/\1/p"; }

rm -f "$root"/k8s/schemas/cnpg-*.json
for release in $releases; do
    "$tools/bin/python" "$here/schemas.py" "$(field Dir)/releases/cnpg-$release.yaml" \
        "$module" "$(field Sum)" >"$root/k8s/schemas/cnpg-$release.json"
done
