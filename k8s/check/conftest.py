"""Tools, and manifests as kubectl would send them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import facts
from facts import ROOT

OVERLAYS = ("dev", "production")


def tool(name: str) -> str:
    """Where a tool is: named by a variable, or beside this Python. A missing one is an error."""
    beside = Path(sys.executable).parent / name
    return os.environ.get(name.upper()) or str(beside)


def run(*command: str, **more) -> subprocess.CompletedProcess:
    """Runs a program to its end; output and errors in one text."""
    return subprocess.run(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False, **more
    )


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    """A copy of what kustomize reads, with the key that developers make for themselves."""
    tree = tmp_path_factory.mktemp("tree")
    for part in ("k8s", "config"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("check", "key.pem"))
    key = run("openssl", "genpkey", "-algorithm", "ed25519", "-out", str(tree / "k8s/overlays/dev/key.pem"))
    assert key.returncode == 0, key.stdout
    return tree


def render(overlay: Path) -> list[dict]:
    """All objects of an overlay."""
    rendered = run(tool("kubectl"), "kustomize", str(overlay))
    assert rendered.returncode == 0, rendered.stdout
    return [document for document in yaml.safe_load_all(rendered.stdout) if document]


@pytest.fixture(scope="session")
def rendered(tree) -> dict[str, list[dict]]:
    """All objects, by overlay."""
    return {name: render(tree / "k8s/overlays" / name) for name in OVERLAYS}


@pytest.fixture(scope="session", params=OVERLAYS)
def objects(request, rendered) -> list[dict]:
    """All objects of one overlay after the other."""
    return rendered[request.param]


@pytest.fixture(scope="session")
def production(rendered) -> list[dict]:
    """What production is made of."""
    return rendered["production"]


@pytest.fixture(scope="session")
def counted() -> dict[str, facts.Metric]:
    """What the program counts."""
    return facts.metrics(facts.rust_sources())


def one(objects: list[dict], kind: str, name: str = "outrider") -> dict:
    """The object of a kind with a name."""
    found = [it for it in objects if it["kind"] == kind and it["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} {kind} are called {name}"
    return found[0]


@pytest.fixture(scope="session")
def outrider():
    """The program, in an environment that has only what it is given."""

    def outrider(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        return run(tool("outrider_bin"), *arguments, env={"PATH": os.environ["PATH"], **(env or {})})

    return outrider
