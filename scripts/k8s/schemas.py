"""Cuts a Cluster's schema out of a release of CloudNativePG: schemas.py MANIFEST MODULE SUM

Prints it as JSON, a line for each field of the spec. Left out are descriptions, which are most of
it, defaults, the status, which no manifest has, and how the API server merges lists.
"""

import json
import pathlib
import sys

import yaml

LEFT_OUT = {
    "description",
    "default",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
}


def stripped(schema):
    """A schema without what is left out; names of fields are not its own words."""
    if isinstance(schema, list):
        return [stripped(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {word: value for word, value in schema.items() if word not in LEFT_OUT}
    fields = kept.pop("properties", None)
    kept = {word: stripped(value) for word, value in kept.items()}
    if fields is not None:
        kept["properties"] = {name: stripped(field) for name, field in fields.items()}
    return kept


def cluster(manifest):
    """The schema of a Cluster in a release's manifest."""
    for document in filter(None, yaml.safe_load_all(manifest)):
        names = document.get("spec", {}).get("names", {})
        if document["kind"] == "CustomResourceDefinition" and names["kind"] == "Cluster":
            (version,) = document["spec"]["versions"]
            return version["schema"]["openAPIV3Schema"]
    raise SystemExit("no Cluster is defined here")


def main(path, module, checksum):
    path = pathlib.Path(path)
    with path.open(encoding="utf-8") as manifest:
        schema = stripped(cluster(manifest))
    del schema["properties"]["status"]
    fields = schema["properties"]["spec"].pop("properties")
    comment = (
        f"What CloudNativePG demands of a Cluster: releases/{path.name} of the Go module {module} "
        f"({checksum}), without descriptions, defaults and status. Copyright its contributors, "
        "Apache-2.0. Made by scripts/k8s/schemas.sh."
    )
    head = json.dumps({"$comment": comment, **schema})
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(fields[name])}" for name in sorted(fields))
    mark = '"spec": {'
    at = head.index(mark) + len(mark)
    print(f'{head[:at]}"properties": {{\n{lines}\n}}, {head[at:]}')


if __name__ == "__main__":
    main(*sys.argv[1:])
