"""The rules for the manifests that no schema can state: that they agree with each other, and with the
server.

    manifests.py FOLDER
"""

import sys
from pathlib import Path

import yaml

# The seconds that the server may take after http.drain_seconds, see docs/operations.md.
AFTER_DRAIN = 8


def main(folder: Path) -> None:
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    listed = set(kustomization["resources"])
    optional = {"kustomization.yaml", "servicemonitor.yaml"}
    there = {path.name for path in folder.glob("*.yaml")} - optional
    assert listed == there, f"kustomization.yaml and the folder differ: {listed ^ there}"

    found = [doc for name in sorted(listed) for doc in yaml.safe_load_all((folder / name).read_text())]
    kinds: dict[str, list[dict]] = {}
    for doc in found:
        kinds.setdefault(doc["kind"], []).append(doc)
    [deployment], [config] = kinds["Deployment"], kinds["ConfigMap"]
    [budget], [policy], [account] = (
        kinds[kind] for kind in ("PodDisruptionBudget", "NetworkPolicy", "ServiceAccount")
    )
    template = deployment["spec"]["template"]
    pod, labels = template["spec"], template["metadata"]["labels"]

    selectors = {
        "Deployment": deployment["spec"]["selector"]["matchLabels"],
        "PodDisruptionBudget": budget["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": policy["spec"]["podSelector"]["matchLabels"],
    }
    for service in kinds["Service"]:
        selectors[service["metadata"]["name"]] = service["spec"]["selector"]
    for spread in pod["topologySpreadConstraints"]:
        selectors[spread["topologyKey"]] = spread["labelSelector"]["matchLabels"]
    for what, selector in selectors.items():
        assert selector and selector.items() <= labels.items(), f"{what} selects other pods"

    assert pod["serviceAccountName"] == account["metadata"]["name"]
    containers = pod["initContainers"] + pod["containers"]
    ports = {port["name"] for port in pod["containers"][0]["ports"]}
    wanted = {port["targetPort"] for service in kinds["Service"] for port in service["spec"]["ports"]}
    wanted |= {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    assert wanted == ports, f"ports {wanted ^ ports} are on one side alone"
    images = {image["name"] for image in kustomization["images"]}
    for container in containers:
        assert container["image"] in images, f"{container['image']} is not replaced by a release"
        security = container["securityContext"]
        assert security["capabilities"]["drop"] == ["ALL"] and security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        [source] = container["envFrom"]
        assert source["configMapRef"]["name"] == config["metadata"]["name"]
        [mount] = container["volumeMounts"]
        for key, value in config["data"].items():
            outside = key.endswith("_FILE") and not value.startswith(mount["mountPath"] + "/")
            assert not outside, f"{key} is not where the secret is mounted"

    drain = int(config["data"]["BACKOFFICE_AUTH__HTTP__DRAIN_SECONDS"])
    grace = pod["terminationGracePeriodSeconds"]
    assert grace >= drain + AFTER_DRAIN, f"killed after {grace} s, {drain} s of which it drains"
    assert deployment["spec"]["replicas"] > budget["spec"]["minAvailable"], "no node can be emptied"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
