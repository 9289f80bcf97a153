#!/bin/sh
# kubectl in the version that the manifests are rendered with here, on every machine the same:
#   scripts/k8s/kubectl.sh kustomize k8s/overlays/local
set -eu
tools=$("$(dirname "$0")/tools.sh")
exec "$tools/bin/kubectl" "$@"
