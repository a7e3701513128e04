"""Nodes that are started, asked and stopped as the Deployment says, by the real binary on a real Postgres and NATS."""

import json
import os
import re
import signal
import subprocess
import time
import tomllib
import urllib.request
import uuid
from pathlib import Path

import pytest

import awaited
from conftest import one, run, tool
from facts import ROOT

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
# No settings, but read all the same: by the command line, by what we are built on, by other variables.
NO_SETTINGS = {"OUTRIDER_CONFIG", "TOKIO_WORKER_THREADS", "POD_IP"}
N_SHARDS = 1024


@pytest.fixture(scope="module")
def pod(production) -> dict:
    return one(production, "Deployment")["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def paths(outrider) -> dict:
    """Every path of the gateway."""
    return json.loads(outrider("openapi").stdout)["paths"]


@pytest.fixture(scope="module")
def database() -> str:
    """The URL of a new, empty database on the tests' server."""
    server = os.environ["OUTRIDER_TEST_POSTGRES"]
    name = f"manifests_{uuid.uuid4().hex}"
    made = run("psql", server, "--quiet", "--command", f"CREATE DATABASE {name}")
    assert made.returncode == 0, made.stdout
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture(scope="module")
def world(production, tmp_path_factory, database) -> dict:
    """What the pod finds outside of itself: files by where they are mounted, and secrets by name and key."""
    etc, run_secrets = tmp_path_factory.mktemp("etc"), tmp_path_factory.mktemp("secrets")
    (etc / "production.toml").write_text((ROOT / "config/production.toml").read_text())
    made = run("openssl", "genpkey", "-algorithm", "ed25519", "-out", str(run_secrets / "key.pem"))
    assert made.returncode == 0, made.stdout
    secrets = {
        ("outrider-postgres", "url"): database,
        ("outrider-postgres", "owner-url"): database,
        ("outrider-nats", "url"): os.environ["OUTRIDER_TEST_NATS"],
    }
    # The broker may be others' too.
    here = {"OUTRIDER_CLUSTER__NAME": f"manifests-{uuid.uuid4().hex}"}
    return {"here": here, "mounts": {"/etc/outrider": str(etc), "/run/secrets/outrider": str(run_secrets)}, "secrets": secrets}


def environment(container: dict, world: dict, pod_name: str = "outrider-1") -> dict[str, str]:
    """A container's variables, as Kubernetes would fill them in for a pod of that name."""
    filled: dict[str, str] = {}
    fields = {"metadata.name": pod_name, "metadata.labels['topology.kubernetes.io/zone']": "a", "status.podIP": "127.0.0.1"}
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        value = variable.get("value", "")
        if "secretKeyRef" in source:
            value = world["secrets"][source["secretKeyRef"]["name"], source["secretKeyRef"]["key"]]
        elif "fieldRef" in source:
            value = fields[source["fieldRef"]["fieldPath"]]
        elif "resourceFieldRef" in source:
            value = container["resources"]["requests"]["cpu"]
        for mount in container["volumeMounts"]:
            value = value.replace(mount["mountPath"], world["mounts"][mount["mountPath"]])
        filled[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda other: filled[other[1]], value)
    return {name: value for name, value in filled.items() if name not in awaited.SETTINGS}


# ── What is so ──────────────────────────────────────────────────────────────────────────────────


def test_probes_ask_paths_the_gateway_has(pod, paths):
    for name in PROBES:
        assert "get" in paths[pod["containers"][0][name]["httpGet"]["path"]], name
    assert "get" in paths["/metrics"]


def test_liveness_never_asks_the_journal(pod):
    assert pod["containers"][0]["livenessProbe"]["httpGet"]["path"] == "/health/live"


def test_the_container_listens_where_the_settings_say(pod):
    listen = tomllib.loads((ROOT / "config/production.toml").read_text())["gateway"]["listen"]
    assert [port["containerPort"] for port in pod["containers"][0]["ports"]] == [int(listen.rsplit(":", 1)[1])]


def test_containers_are_told_what_the_program_understands(pod, outrider):
    hook = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert hook[0] == "outrider"
    commands = [hook[1:], *(container["args"] for container in pod["containers"] + pod["initContainers"])]
    for command in commands:
        if tuple(command) not in awaited.COMMANDS:
            assert outrider(*command, "--help").returncode == 0, command


def test_every_variable_is_a_setting(pod, world, outrider):
    for container in pod["containers"] + pod["initContainers"]:
        given = environment(container, world)
        unknown = [name for name in given if "__" not in name and name not in NO_SETTINGS]
        assert unknown == [], "the program ignores these"
        understood = outrider("openapi", env=given)
        assert understood.returncode == 0, understood.stdout


def test_runbooks_name_commands_the_program_has(production, outrider):
    for group in one(production, "PrometheusRule")["spec"]["groups"]:
        for rule in group["rules"]:
            for command in re.findall(r"`outrider ([^`]+)`", rule["annotations"]["runbook"]):
                assert outrider(*command.split(), "--help").returncode == 0, f"{rule['alert']}: {command}"


def test_nothing_is_awaited_that_has_come(outrider):
    """Take it off awaited.py, and it is checked like everything else."""
    for setting in awaited.SETTINGS:
        assert outrider("openapi", env={setting: "here"}).returncode != 0, f"{setting} has come"
    for command in awaited.COMMANDS:
        assert outrider(*command, "--help").returncode != 0, f"{command} has come"


class Running:
    """A container that runs, and what may be asked of it."""

    def __init__(self, container: dict, world: dict, name: str, directory: Path):
        # The port of the settings may be somebody else's here.
        self.variables = environment(container, world, name) | world["here"] | {"OUTRIDER_GATEWAY__LISTEN": "127.0.0.1:0"}
        self.log = directory / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [tool("outrider_bin"), *container["args"]],
                env={"PATH": os.environ["PATH"], **self.variables},
                cwd=directory, stdout=subprocess.PIPE, stderr=log, text=True,
            )
        said = self.process.stdout.readline()
        found = re.match(r"outrider is at (http://(\S+))/\n", said)
        assert found, said + self.log.read_text()
        self.url = found[1]
        self.variables["OUTRIDER_GATEWAY__LISTEN"] = found[2]

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            assert answer.status == 200, path
            return answer.read().decode()

    def counts(self, metric: str) -> float:
        """What a gauge without labels stands at."""
        return float(re.search(rf"^{metric} (\S+)$", self.get("/metrics"), re.M)[1])


def until(what, within_s: float = 20) -> None:
    """Waits until something is so."""
    ends = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < ends, "it never came to be"
        time.sleep(0.05)


def test_three_pods_live_and_leave_as_the_deployment_says(pod, world, outrider, tmp_path):
    prepare, serve = pod["initContainers"][0], pod["containers"][0]
    for said in ("schema went from version 0", "already"):
        migrated = outrider(*prepare["args"], env=environment(prepare, world))
        assert said in migrated.stdout, migrated.stdout

    started = []
    try:
        for name in ("outrider-1", "outrider-2", "outrider-3"):
            started.append(Running(serve, world, name, tmp_path))
        nodes = list(started)
        for node in nodes:
            for probe in PROBES:
                node.get(serve[probe]["httpGet"]["path"])
            asked = outrider("check", "node", env=node.variables)
            assert asked.returncode == 0, asked.stdout

        def shares() -> list[float]:
            return [node.counts("outrider_cluster_shards_owned") for node in nodes]

        until(lambda: sum(shares()) == N_SHARDS and min(shares()) > N_SHARDS / 6)
        exposed = nodes[0].get("/metrics")

        leaving = nodes.pop()
        hook = outrider(*serve["lifecycle"]["preStop"]["exec"]["command"][1:], env=leaving.variables)
        assert hook.returncode == 0 and "it has left" in hook.stdout, hook.stdout + leaving.log.read_text()
        assert leaving.process.wait(timeout=1) == 0
        until(lambda: sum(shares()) == N_SHARDS and {node.counts("outrider_cluster_members") for node in nodes} == {2})

        # Without the hook it is SIGTERM that says so.
        leaving = nodes.pop()
        leaving.process.send_signal(signal.SIGTERM)
        assert leaving.process.wait(timeout=pod["terminationGracePeriodSeconds"]) == 0
        until(lambda: shares() == [N_SHARDS])
    finally:
        for node in started:
            node.process.kill()
            node.process.wait()
    assert "outrider_build_info{" in exposed
    # What metrics mean is said on the dashboard, not in the exposition.
    linted = run(tool("promtool"), "check", "metrics", input=exposed).stdout.splitlines()
    assert [line for line in linted if not line.endswith("no help text")] == []
    # A root filesystem that cannot be written was no loss.
    assert {path.suffix for path in tmp_path.iterdir()} == {".log"}


# ── Judges see mistakes ─────────────────────────────────────────────────────────────────────────


def test_a_variable_that_is_no_setting_is_seen(pod, world, outrider):
    given = {**environment(pod["containers"][0], world), "OUTRIDER_GATEWAY__LISEN": "0.0.0.0:7070"}
    assert "lisen" in outrider("openapi", env=given).stdout


def test_a_file_that_is_not_mounted_is_seen(pod, world, outrider):
    given = {**environment(pod["containers"][0], world), "OUTRIDER_CONFIG": "/etc/outrider/prod.toml"}
    assert outrider("openapi", env=given).returncode != 0
