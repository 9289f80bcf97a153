"""Checks rendered manifests against schemas: validate.py SCHEMAS FILE...

Strictly (a field that the schema does not know is an error), for the oldest and the newest version
that we say we run on: Kubernetes' own objects by the schemas that the package
`kubernetes-validate` ships; CloudNativePG's clusters by the operator's own, in the folder SCHEMAS.
Not checked are conditions between fields (CEL rules), which only the API server evaluates. One line
for each problem; exits with 1 if there is any.
"""

import json
import pathlib
import sys

import jsonschema
import kubernetes_validate
import yaml

# The oldest: PodDisruptionBudgets there have unhealthyPodEvictionPolicy, and preStop can sleep.
VERSIONS = ("1.31", "1.37")


def strict(schema):
    """The same schema, to which a field that it does not name is an error."""
    if not isinstance(schema, dict):
        return schema
    closed = dict(schema)
    for word in {"items", "additionalProperties"} & schema.keys():
        closed[word] = strict(schema[word])
    if "properties" in schema:
        fields = schema["properties"].items()
        closed["properties"] = {name: strict(field) for name, field in fields}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
    return closed


def operators(folder):
    """A validator for each version of the operator."""
    files = sorted(pathlib.Path(folder).glob("cnpg-*.json"))
    assert len(files) == 2, f"the oldest and the newest, not {files}"
    for file in files:
        schema = strict(json.loads(file.read_text(encoding="utf-8")))
        yield file.stem, jsonschema.Draft7Validator(schema)


def cluster_problems(document, validators):
    """What is wrong with a Cluster."""
    for version, validator in validators:
        for error in validator.iter_errors(document):
            yield f"{version}: {'.'.join(str(step) for step in error.path)}: {error.message}"
    # The operator's schema leaves these to Kubernetes.
    metadata = document.get("metadata")
    yield from kubernetes_problems({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


def kubernetes_problems(document):
    """What is wrong with an object of Kubernetes' own."""
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError:
            yield f"Kubernetes {version}: knows no {document.get('kind')} of this apiVersion"


def problems(document, validators):
    """What is wrong with one object."""
    if document.get("apiVersion") == "postgresql.cnpg.io/v1" and document.get("kind") == "Cluster":
        return cluster_problems(document, validators)
    return kubernetes_problems(document)


def main(schemas, files):
    validators = list(operators(schemas))
    bad = checked = 0
    for path in files:
        with open(path, encoding="utf-8") as file:
            for document in filter(None, yaml.safe_load_all(file)):
                checked += 1
                name = f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"
                for problem in problems(document, validators):
                    bad += 1
                    print(f"{path}: {name}: {problem}")
    print(f"{checked} objects checked, {bad} problems")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
