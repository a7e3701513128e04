"""The image can be built from what is sent to the builder, and compose understands its file."""

import copy
import re
import tomllib

import compose_spec
import pytest
import yaml

import awaited
from conftest import run, tool
from facts import ROOT, rust_sources

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = (ROOT / "compose.yaml").read_text()


# ── Judges ──────────────────────────────────────────────────────────────────────────────────────


def unbuildable(dockerfile: str) -> str:
    """What hadolint says."""
    return run(tool("hadolint"), "--no-color", "-", input=dockerfile).stdout


def left_out(ignored: str, needed: set[str]) -> list[str]:
    """What a build needs and the builder is not sent."""
    lines = [line for line in ignored.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*", "everything stays out but what is named"
    sent = {line.removeprefix("!") for line in lines[1:]}
    return sorted(path for path in needed if not any(f"{path}/".startswith(f"{it}/") for it in sent))


def misunderstood(text: str) -> list[str]:
    """What compose would not understand, or would wait for in vain."""
    options = compose_spec.PyOptions()
    options.apply_merge = True
    try:
        options.from_yaml(text).validate()
    except ValueError as error:
        return [str(error)]
    services = yaml.safe_load(text)["services"]
    problems = []
    for name, service in services.items():
        for other, wait in service.get("depends_on", {}).items():
            if other not in services:
                problems.append(f"{name} waits for {other}, which is not there")
            elif wait["condition"] == "service_healthy" and "test" not in services[other].get("healthcheck", {}):
                problems.append(f"{name} waits for the health of {other}, which has none")
    return problems


def embedded() -> set[str]:
    """Every file that becomes part of the binary, or the directory it is in."""
    found = set()
    for path, text in rust_sources().items():
        for file in re.findall(r'include(?:_str|_bytes)?!\((?:concat!\()?\s*"([^"]+)"', text):
            found.add(str(((ROOT / path).parent / file).resolve().relative_to(ROOT)))
    return found


# ── What is so ──────────────────────────────────────────────────────────────────────────────────


def test_the_dockerfile_is_sound():
    assert unbuildable(DOCKERFILE) == ""


def test_the_builder_is_sent_what_it_needs():
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]
    copied = {path for path in re.findall(r"^COPY (\S+) \S+$", DOCKERFILE, re.M) if path != "."}
    needed = embedded() | copied | {f"{it}/Cargo.toml" for it in workspace["members"]} | {"Cargo.lock", "src/main.rs"}
    assert len(embedded()) > 10 and all((ROOT / path).exists() for path in needed)
    assert left_out((ROOT / ".dockerignore").read_text(), needed) == []


def test_the_compiler_is_the_one_we_say():
    wanted = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    assert re.search(r"^FROM rust:([\d.]+)-", DOCKERFILE, re.M)[1] == wanted


def test_the_image_is_nobody_with_nothing():
    last = DOCKERFILE.split("\nFROM ")[-1]
    assert re.match(r"\S*distroless\S*:nonroot\n", last)
    assert "\nUSER 65532:65532\n" in last and "\nRUN " not in last


def test_compose_understands_its_file():
    assert misunderstood(COMPOSE) == []
    nodes = [name for name in yaml.safe_load(COMPOSE)["services"] if name.startswith("node-")]
    assert nodes == ["node-1", "node-2", "node-3"]


def test_compose_gives_nodes_settings_they_have(outrider):
    for name, service in yaml.safe_load(COMPOSE)["services"].items():
        if service["image"].startswith("outrider"):
            given = {key: value for key, value in service["environment"].items() if key not in awaited.SETTINGS}
            assert outrider("openapi", env=given).returncode == 0, name
            assert outrider(*service.get("command", ["serve"]), "--help").returncode == 0
            if "test" in service["healthcheck"]:
                program, *words = service["healthcheck"]["test"][1:]
                assert program == "outrider" and outrider(*words, "--help").returncode == 0


# ── Judges see mistakes ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("ours", "planted"),
    [
        ("FROM rust:1.95-bookworm", "FROM rust"),
        ("WORKDIR /src", "WORKDIR src"),
        ('ENTRYPOINT ["/usr/local/bin/outrider"]', "ENTRYPOINT /usr/local/bin/outrider"),
        ("COPY --from=recipe", "COPY --form=recipe"),
        ("USER 65532:65532", "USER root"),
    ],
)
def test_a_bad_dockerfile_is_seen(ours, planted):
    assert ours in DOCKERFILE
    assert unbuildable(DOCKERFILE.replace(ours, planted)) != ""


def test_a_file_the_builder_is_not_sent_is_seen():
    ignored = (ROOT / ".dockerignore").read_text().replace("!console/dist\n", "")
    assert left_out(ignored, embedded()) != []


@pytest.mark.parametrize(
    ("ours", "planted"),
    [
        ("stop_grace_period", "stop_grace_perod"),
        ("service_completed_successfully", "service_done"),
        ("nats: {condition", "natz: {condition"),
        ("127.0.0.1:7071:7070", "127.0.0.1:7071:x"),
        ("  key:\n", ""),
        ("healthcheck: &healthcheck\n    test: [CMD, outrider, check, node]\n", "healthcheck: &healthcheck\n"),
    ],
)
def test_a_bad_compose_file_is_seen(ours, planted):
    assert ours in COMPOSE
    bad = COMPOSE.replace(ours, planted)
    if "test:" in ours:
        bad = bad.replace("migrate: {condition: service_completed_successfully}", "node-2: {condition: service_healthy}")
    assert misunderstood(bad) != []


def test_a_setting_nobody_has_is_seen(outrider):
    assert "gatway" in outrider("openapi", env={"OUTRIDER_GATWAY__LISTEN": "0.0.0.0:7070"}).stdout
