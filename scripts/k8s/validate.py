"""Checks rendered manifests against schemas: validate.py CLUSTER_SCHEMA FILE...

Kubernetes' own objects by the schemas that the package `kubernetes-validate` ships, strictly (a
field that the schema does not know is an error), for the oldest and the newest version that we
say we run on; CloudNativePG's clusters by the given schema of ours. One line for each problem;
exits with 1 if there is any.
"""

import json
import sys

import jsonschema
import kubernetes_validate
import yaml

# The oldest: PodDisruptionBudgets there have unhealthyPodEvictionPolicy, and preStop can sleep.
VERSIONS = ("1.31", "1.37")


def problems(document, cluster):
    """What is wrong with one object."""
    if document.get("kind") == "Cluster":
        for error in cluster.iter_errors(document):
            yield f"{'.'.join(str(step) for step in error.path)}: {error.message}"
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError:
            yield f"Kubernetes {version}: knows no {document.get('kind')} of this apiVersion"


def main(schema, files):
    with open(schema, encoding="utf-8") as file:
        cluster = jsonschema.Draft7Validator(json.load(file))
    bad = checked = 0
    for path in files:
        with open(path, encoding="utf-8") as file:
            for document in filter(None, yaml.safe_load_all(file)):
                checked += 1
                name = f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"
                for problem in problems(document, cluster):
                    bad += 1
                    print(f"{path}: {name}: {problem}")
    print(f"{checked} objects checked, {bad} problems")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
