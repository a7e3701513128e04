"""A node that is started, asked and stopped as the Deployment says, by the real binary on a real Postgres."""

import json
import os
import re
import signal
import subprocess
import urllib.request
import uuid

import pytest
import tomllib

import awaited
from conftest import one, run, tool
from facts import ROOT

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
# Not ours, but of what we are built on.
OTHERS_SETTINGS = {"TOKIO_WORKER_THREADS", "OUTRIDER_CONFIG"}


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
        ("outrider-nats", "url"): os.environ.get("OUTRIDER_TEST_NATS", ""),
    }
    return {"mounts": {"/etc/outrider": str(etc), "/run/secrets/outrider": str(run_secrets)}, "secrets": secrets}


def environment(container: dict, world: dict) -> dict[str, str]:
    """A container's variables, as Kubernetes would fill them in."""
    filled = {}
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        value = variable.get("value", "")
        if "secretKeyRef" in source:
            value = world["secrets"][source["secretKeyRef"]["name"], source["secretKeyRef"]["key"]]
        elif "fieldRef" in source:
            value = {"metadata.name": "outrider-abc12"}.get(source["fieldRef"]["fieldPath"], "zone-a")
        elif "resourceFieldRef" in source:
            value = container["resources"]["requests"]["cpu"]
        for mount in container["volumeMounts"]:
            value = value.replace(mount["mountPath"], world["mounts"][mount["mountPath"]])
        filled[variable["name"]] = value
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
        unknown = [name for name in given if "__" not in name and name not in OTHERS_SETTINGS]
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


def test_a_node_lives_as_the_deployment_says(pod, world, outrider, tmp_path):
    prepare, serve = pod["initContainers"][0], pod["containers"][0]
    migrated = outrider(*prepare["args"], env=environment(prepare, world))
    assert "schema went from version 0" in migrated.stdout, migrated.stdout

    # The port of the settings may be somebody else's here.
    variables = {**environment(serve, world), "OUTRIDER_GATEWAY__LISTEN": "127.0.0.1:0"}
    with (tmp_path / "log").open("w") as log:
        node = subprocess.Popen(
            [tool("outrider_bin"), *serve["args"]],
            env={"PATH": os.environ["PATH"], **variables}, stdout=subprocess.PIPE, stderr=log, text=True, cwd=tmp_path,
        )
        try:
            said = node.stdout.readline()
            found = re.match(r"outrider is at (http://\S+)/\n", said)
            assert found, said + (tmp_path / "log").read_text()
            url = found[1]
            for name in PROBES:
                with urllib.request.urlopen(url + serve[name]["httpGet"]["path"], timeout=10) as answer:
                    assert answer.status == 200, name
            address = url.removeprefix("http://")
            asked = outrider("check", "node", env={**variables, "OUTRIDER_GATEWAY__LISTEN": address})
            assert asked.returncode == 0, asked.stdout
            with urllib.request.urlopen(url + "/metrics", timeout=10) as answer:
                exposed = answer.read().decode()
            node.send_signal(signal.SIGTERM)
            assert node.wait(timeout=pod["terminationGracePeriodSeconds"]) == 0
        finally:
            node.kill()
            node.wait()
    assert "outrider_build_info{" in exposed
    # What metrics mean is said on the dashboard, not in the exposition.
    linted = run(tool("promtool"), "check", "metrics", input=exposed).stdout.splitlines()
    assert [line for line in linted if not line.endswith("no help text")] == []
    # A root filesystem that cannot be written was no loss.
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


# ── Judges see mistakes ─────────────────────────────────────────────────────────────────────────


def test_a_variable_that_is_no_setting_is_seen(pod, world, outrider):
    given = {**environment(pod["containers"][0], world), "OUTRIDER_GATEWAY__LISEN": "0.0.0.0:7070"}
    assert "lisen" in outrider("openapi", env=given).stdout


def test_a_file_that_is_not_mounted_is_seen(pod, world, outrider):
    given = {**environment(pod["containers"][0], world), "OUTRIDER_CONFIG": "/etc/outrider/prod.toml"}
    assert outrider("openapi", env=given).returncode != 0
