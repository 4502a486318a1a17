"""Container, compose and Kubernetes files: valid by the schemas of their readers, and of one mind with the server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import edgedesk
from runtime.base.settings import OTHER_VARIABLES, PREFIX, Settings
from runtime.desk.answer_ahead import AheadCounts
from runtime.server.metrics import ServerMetrics, exposition
from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
VERSIONS = ("1.29", "1.37")
"""Of Kubernetes: the oldest and the newest the manifests are held against."""


def manifests() -> Iterator[dict[str, Any]]:
    for path in KUBERNETES:
        yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))


def manifest(kind: str) -> dict[str, Any]:
    (found,) = [one for one in manifests() if one["kind"] == kind]
    return found


def tool(*words: object) -> str:
    command = [sys.executable, "-m", str(words[0]), *map(str, words[1:])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_manifests_are_valid(version: str) -> None:
    import kubernetes_validate

    for one in manifests():
        assert kubernetes_validate.validate(one, version, strict=True)


def test_kubernetes_schema_check_can_fail() -> None:
    import kubernetes_validate

    spoilt = manifest("PodDisruptionBudget")
    spoilt["spec"]["minAvaliable"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, VERSIONS[-1], strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is missing")
def test_kubernetes_kustomization_holds_every_manifest() -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY / "kubernetes")], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert sorted((one["kind"], one["metadata"]["name"]) for one in built) == sorted(
        (one["kind"], one["metadata"]["name"]) for one in manifests()
    )
    assert {one["metadata"].get("namespace") for one in built if one["kind"] != "Namespace"} == {"edgedesk"}


def test_kubernetes_selects_its_own_pods() -> None:
    spec = manifest("StatefulSet")["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    services = {one["metadata"]["name"]: one["spec"] for one in manifests() if one["kind"] == "Service"}
    assert all(one["selector"].items() <= labels.items() for one in services.values())
    assert spec["serviceName"] in services
    (container,) = spec["template"]["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for one in services.values() for port in one["ports"]} <= ports


def test_kubernetes_scales_by_a_metric_that_the_server_has() -> None:
    scaler = manifest("HorizontalPodAutoscaler")["spec"]
    (metric,) = scaler["metrics"]
    name = metric["pods"]["metric"]["name"]
    text = exposition(ServerMetrics(), ready=True, in_work=7, ahead=AheadCounts()).decode()
    assert f"\n{name} 7.0\n" in text
    target = manifest("StatefulSet")
    assert scaler["scaleTargetRef"] == {key: target[key] for key in ("apiVersion", "kind")} | {
        "name": target["metadata"]["name"]
    }
    assert scaler["minReplicas"] > manifest("PodDisruptionBudget")["spec"]["minAvailable"], "a node can be drained"
    # More than are answered at once wait: the pods are full before the queue is.
    assert float(metric["pods"]["target"]["averageValue"]) <= Settings(threads=1).slots


def test_kubernetes_pod_keeps_to_the_restricted_profile() -> None:
    pod = manifest("StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert manifest("NetworkPolicy")["spec"]["egress"] == []


def test_kubernetes_autoscaler_is_not_undone_by_applying_the_manifests_again() -> None:
    assert "replicas" not in manifest("StatefulSet")["spec"]


def start(folder: Path, home: Path, *words: str) -> list[str]:
    """Run the image's entry point on mounts that lie in a folder; the commands that it ran."""
    text = (DEPLOY / "container" / "Containerfile").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ENTRYPOINT (.*)$", text, re.M)
    command = json.loads(line)
    program = folder / "bin" / "edgedesk"
    program.parent.mkdir(exist_ok=True)
    program.write_text('#!/bin/sh\necho "$@" >>"$TOLD"\n')
    program.chmod(0o755)
    # The mounts' own paths are the only thing that is not as in the image.
    command[2] = re.sub(r"(?<= )/(tls|agents|release|trust)(?=[/ ;])", rf"{folder}/\1", command[2])
    told = folder / "told"
    told.unlink(missing_ok=True)
    path = f"{program.parent}:{os.environ['PATH']}"
    subprocess.run(
        [*command, *words], env={"PATH": path, "EDGEDESK_HOME": str(home), "TOLD": str(told)}, check=True, timeout=60
    )
    return told.read_text().splitlines()


def test_container_start_installs_its_release_and_takes_mounted_key_and_agents(tmp_path: Path) -> None:
    """Part of S13: a key and a list that a group may read become the branch's own, for its owner alone."""
    mounts, home = tmp_path / "mounts", tmp_path / "home"
    (mounts / "release" / "bundle").mkdir(parents=True)
    assert start(mounts, home) == [f"install {mounts}/release/bundle", "serve"]
    (mounts / "release" / "metadata").mkdir()
    for place in (mounts / "tls" / "tls.key", mounts / "agents" / "agents.json"):
        place.parent.mkdir()
        place.write_text(place.name)
        place.chmod(0o440)
    home.mkdir(exist_ok=True)
    (home / "agents.json").write_text("the pod's own, of before")
    installed = f"install {mounts}/release --root {mounts}/trust/root.json"
    assert start(mounts, home, "--port", "1") == [installed, "serve --port 1"]
    for copy in (home / "run" / "tls.key", home / "agents.json"):
        assert copy.read_text() == copy.name
        assert copy.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("signed", "root", "said"),
    [
        (True, "the company's", ""),
        (False, None, ""),
        (True, None, "a signed release, and no root to believe it by"),
        (True, "", "a signed release, and no root to believe it by"),
        (False, "the company's", "nobody has signed this bundle"),
    ],
)
def test_container_is_built_only_of_what_its_root_can_be_asked_about(
    tmp_path: Path, signed: bool, root: str | None, said: str
) -> None:
    """Part of S1: the steps of the build, with its mounts elsewhere."""
    text = (DEPLOY / "container" / "Containerfile").read_text(encoding="utf-8")
    (step,) = re.findall(r"^RUN --mount\S+ --mount\S+ (.*?[^\\])$", text, re.M | re.S)
    stick = tmp_path / "stick"
    (stick / ("metadata" if signed else "bundle")).mkdir(parents=True)
    (stick / "install.sh").write_text(f"[ $1 = --program-only ] && touch {tmp_path}/installed\n")
    (tmp_path / "run" / "secrets").mkdir(parents=True)
    if root is not None:
        (tmp_path / "run" / "secrets" / "root").write_text(root)
    command = re.sub(
        r"(?<= )/(stick|release|trust|run/secrets)(?=[/ ;\n]|$)", rf"{tmp_path}/\1", step.replace("\\\n", "\n")
    )
    done = subprocess.run(["sh", "-euc", command.replace("\n", " ")], capture_output=True, text=True, timeout=60)
    assert said in done.stderr
    assert (done.returncode == 0) == (not said), done.stderr
    assert (tmp_path / "installed").exists() == (not said)
    trusted = tmp_path / "trust" / "root.json"
    assert (trusted.read_text() if trusted.exists() else None) == (root if not said else None)


def test_container_release_is_believed_by_the_root_of_its_image() -> None:
    """The build takes the root, the image keeps it, and compose hands it in."""
    text = (DEPLOY / "container" / "Containerfile").read_text(encoding="utf-8")
    assert "COPY --from=program /trust /trust" in text
    assert compose()["services"]["edgedesk"]["build"]["secrets"] == ["root"]
    assert compose()["secrets"]["root"]["file"].startswith("${ROOT:-")


def test_kubernetes_mounts_what_the_container_looks_for() -> None:
    pod = manifest("StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    secrets = {volume["name"]: volume["secret"] for volume in pod["volumes"] if "secret" in volume}
    text = (DEPLOY / "container" / "Containerfile").read_text(encoding="utf-8")
    assert f"-f {mounts['tls']}/tls.key" in text
    assert f"-f {mounts['agents']}/agents.json" in text
    guide = (ROOT / "docs" / "how-to" / "kubernetes.md").read_text(encoding="utf-8")
    assert all(secret["secretName"] in guide for secret in secrets.values())
    assert secrets["agents"]["optional"], "before there are tokens the pods start all the same"


def probes() -> list[list[str]]:
    (container,) = manifest("StatefulSet")["spec"]["template"]["spec"]["containers"]
    found = [container[f"{name}Probe"]["exec"]["command"] for name in ("startup", "readiness", "liveness")]
    return [*found, compose()["services"]["edgedesk"]["healthcheck"]["test"][1:]]


@pytest.mark.parametrize("command", [["edgedesk", "probe"], ["edgedesk", "probe", "--live"]])
def test_probe_commands_exist(command: list[str], tmp_path: Path) -> None:
    assert command in probes()
    assert command[1] in edgedesk.COMMANDS
    done = subprocess.run(
        [sys.executable, str(ROOT / "edgedesk.py"), *command[1:], "--home", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 9, done.stderr
    assert "no server answers" in done.stderr


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


def test_compose_file_is_valid() -> None:
    tool("check_jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


def test_compose_branch_has_no_network_unless_asked() -> None:
    services = compose()["services"]
    assert services["edgedesk"]["network_mode"] == "none"
    assert services["edgedesk-network"]["profiles"] == ["network"]
    for one in services.values():
        assert one["read_only"]
        assert one["cap_drop"] == ["ALL"]


def test_environment_of_the_manifests_is_known_to_the_settings() -> None:
    (container,) = manifest("StatefulSet")["spec"]["template"]["spec"]["containers"]
    given = [row["name"] for row in container["env"]]
    given += compose()["services"]["edgedesk-network"]["environment"]
    given += re.findall(r"^ENV (\w+)=", (DEPLOY / "container" / "Containerfile").read_text(encoding="utf-8"), re.M)
    known = {PREFIX + name.upper() for name in Settings.model_fields} | set(OTHER_VARIABLES)
    assert set(given) <= known
    # Kubernetes would add EDGEDESK_SERVICE_HOST and others of the Service, which the settings refuse.
    assert manifest("StatefulSet")["spec"]["template"]["spec"]["enableServiceLinks"] is False
