"""Manifests are what Kubernetes understands, and what we mean. Each judge is shown a mistake that it must see."""

import copy
import tomllib
from collections import Counter

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor

from conftest import one, run, tool
from facts import ROOT

# The oldest that knows every field we use, and the newest the judge knows.
KUBERNETES = ("1.30", "1.37")
CUSTOM = {"PrometheusRule": PrometheusRule, "ServiceMonitor": ServiceMonitor}

BASE = Counter(Namespace=1, ServiceAccount=1, ConfigMap=1, Service=2, Deployment=1, PodDisruptionBudget=1, NetworkPolicy=1)
MADE_OF = {
    "dev": BASE + Counter(Secret=3, Service=3, Deployment=3),
    "production": BASE + Counter(HorizontalPodAutoscaler=1, ServiceMonitor=1, PrometheusRule=1, ConfigMap=1),
}


# ── Judges: each returns what is wrong ──────────────────────────────────────────────────────────


def misunderstood(thing: dict) -> list[str]:
    """What Kubernetes, or the operator whose kind it is, would not understand, unknown keys included."""
    if thing["kind"] in CUSTOM:
        try:
            understood = CUSTOM[thing["kind"]].model_validate(thing)
        except ValueError as error:
            return [str(error)]
        again = understood.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return [f"unknown: {key}" for key in lost(thing, again)]
    problems = []
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{version}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError as error:
            problems.append(f"{version}: {error}")
    return problems


def lost(written, understood, at: str = "") -> list[str]:
    """Keys that were written and have not been understood."""
    if isinstance(written, dict):
        keys = []
        for key, value in written.items():
            here = f"{at}.{key}"
            known = isinstance(understood, dict) and key in understood
            keys += lost(value, understood[key], here) if known else [here]
        return keys
    if isinstance(written, list):
        return [key for n, (a, b) in enumerate(zip(written, understood)) for key in lost(a, b, f"{at}[{n}]")]
    return []


def unsafe(workload: dict) -> list[str]:
    """What a pod could do that it has no need to."""
    pod = workload["spec"]["template"]["spec"]
    outer = pod.get("securityContext", {})
    problems = []
    if not outer.get("runAsNonRoot") or not outer.get("runAsUser"):
        problems.append("may be root")
    if outer.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        problems.append("may make any system call")
    if pod.get("automountServiceAccountToken") is not False:
        problems.append("has a token")
    for container in pod["containers"] + pod.get("initContainers", []):
        inner, name = container.get("securityContext", {}), container["name"]
        if inner.get("allowPrivilegeEscalation") is not False:
            problems.append(f"{name} may become more")
        if inner.get("readOnlyRootFilesystem") is not True:
            problems.append(f"{name} may write its own files")
        if inner.get("capabilities", {}).get("drop") != ["ALL"]:
            problems.append(f"{name} keeps capabilities")
        if "memory" not in container.get("resources", {}).get("limits", {}):
            problems.append(f"{name} may take all memory")
    return problems


def dangling(objects: list[dict]) -> list[str]:
    """What is pointed at and is not there; secrets are others' to make."""
    names = {(it["kind"], it["metadata"]["name"]) for it in objects}
    pods = [it["spec"]["template"] for it in objects if it["kind"] == "Deployment"]
    problems = []

    def selects(selector: dict, whose: str) -> None:
        if not selector or not any(selector.items() <= pod["metadata"]["labels"].items() for pod in pods):
            problems.append(f"{whose} selects no pod")

    for it in objects:
        kind, spec = it["kind"], it.get("spec", {})
        if kind == "Service":
            selects(spec["selector"], it["metadata"]["name"])
        elif kind == "PodDisruptionBudget":
            selects(spec["selector"]["matchLabels"], kind)
        elif kind == "NetworkPolicy":
            selects(spec["podSelector"]["matchLabels"], kind)
        elif kind == "HorizontalPodAutoscaler":
            target = spec["scaleTargetRef"]
            if (target["kind"], target["name"]) not in names:
                problems.append("scales nothing")
        elif kind == "ServiceMonitor":
            labels = spec["selector"]["matchLabels"].items()
            services = [it for it in objects if it["kind"] == "Service" and labels <= it["metadata"].get("labels", {}).items()]
            ports = {port["name"] for service in services for port in service["spec"]["ports"]}
            if not {endpoint["port"] for endpoint in spec["endpoints"]} <= ports:
                problems.append("watches no port")
    for pod in pods:
        mounted = {mount["name"] for container in pod["spec"]["containers"] for mount in container.get("volumeMounts", [])}
        for volume in pod["spec"].get("volumes", []):
            if "configMap" in volume and ("ConfigMap", volume["configMap"]["name"]) not in names:
                problems.append(f"no ConfigMap for {volume['name']}")
            mounted.discard(volume["name"])
        problems += [f"no volume {name}" for name in sorted(mounted)]
        for container in pod["spec"]["containers"]:
            ports = {port["name"] for port in container["ports"]} | {port["containerPort"] for port in container["ports"]}
            for probe in (container.get(f"{it}Probe", {}) for it in ("startup", "readiness", "liveness")):
                if "httpGet" in probe and probe["httpGet"]["port"] not in ports | {8222}:
                    problems.append(f"{container['name']} is probed where it does not listen")
    return problems


def secrets_of(objects: list[dict]) -> set[tuple[str, str]]:
    """Every secret that nodes are given: its name, and which key of it."""
    pod = one(objects, "Deployment")["spec"]["template"]["spec"]
    variables = [it for container in pod["containers"] + pod["initContainers"] for it in container["env"]]
    references = [it["valueFrom"]["secretKeyRef"] for it in variables if "secretKeyRef" in it.get("valueFrom", {})]
    found = {(it["name"], it["key"]) for it in references}
    return found | {(it["secret"]["secretName"], "key.pem") for it in pod["volumes"] if "secret" in it}


# ── What is so ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("overlay", MADE_OF)
def test_an_overlay_is_all_there(rendered, overlay):
    assert Counter(it["kind"] for it in rendered[overlay]) == MADE_OF[overlay]


def test_kubernetes_understands_everything(objects):
    assert [problem for it in objects for problem in misunderstood(it)] == []


def test_nobody_may_do_more_than_needed(objects):
    assert [problem for it in objects if it["kind"] == "Deployment" for problem in unsafe(it)] == []


def test_whatever_is_pointed_at_is_there(objects):
    assert dangling(objects) == []


def test_production_brings_no_secrets_and_says_which_it_needs(production):
    assert [it for it in production if it["kind"] == "Secret"] == []
    readme = (ROOT / "k8s/README.md").read_text()
    for name, key in secrets_of(production):
        assert f"`{name}`" in readme and f"`{key}`" in readme, f"k8s/README.md does not say what {name}/{key} is"


def test_dev_makes_every_secret_that_nodes_want(rendered):
    made = {(it["metadata"]["name"], key) for it in rendered["dev"] if it["kind"] == "Secret" for key in it["data"]}
    assert secrets_of(rendered["dev"]) <= made


def test_a_roll_never_has_fewer_nodes_and_takes_one_at_a_time(production):
    spec = one(production, "Deployment")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert spec["minReadySeconds"] >= 10
    assert one(production, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_a_node_has_the_time_that_leaving_takes(production):
    pod = one(production, "Deployment")["spec"]["template"]["spec"]
    drain = tomllib.loads((ROOT / "config/default.toml").read_text())["drain"]
    # Hand-overs may take as long as actors, and clients are told goodbye beside them and after.
    takes = 2 * sum(float(drain[part].removesuffix("s")) for part in ("sessions", "actors"))
    *command, within = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command == ["outrider", "cluster", "drain", "--within"]
    assert takes < float(within.removesuffix("s")) <= pod["terminationGracePeriodSeconds"] - 10


def test_the_autoscaler_cannot_thrash_shards(production):
    spec = one(production, "HorizontalPodAutoscaler")["spec"]
    assert spec["minReplicas"] >= 3
    down, up = spec["behavior"]["scaleDown"], spec["behavior"]["scaleUp"]
    assert down["stabilizationWindowSeconds"] >= 600 and up["stabilizationWindowSeconds"] >= 30
    assert [(it["type"], it["value"]) for it in down["policies"]] == [("Pods", 1)]
    assert all(it["periodSeconds"] >= 300 for it in down["policies"])
    # A number in the Deployment would undo the autoscaler's with every apply.
    assert "replicas" not in one(production, "Deployment")["spec"]


def test_production_is_spread_over_zones_and_machines(production):
    pod = one(production, "Deployment")["spec"]["template"]["spec"]
    spread = {it["topologyKey"]: it for it in pod["topologySpreadConstraints"]}
    assert set(spread) == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert all(it["whenUnsatisfiable"] == "DoNotSchedule" and it["nodeTaintsPolicy"] == "Honor" for it in spread.values())


def test_settings_are_the_file_itself(objects):
    volumes = one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
    name = next(it["configMap"]["name"] for it in volumes if "configMap" in it)
    assert one(objects, "ConfigMap", name)["data"]["production.toml"] == (ROOT / "config/production.toml").read_text()


def test_yaml_is_tidy():
    files = [*(ROOT / "k8s").rglob("*.yaml"), ROOT / "compose.yaml", ROOT / "config/kustomization.yaml"]
    linted = run(tool("yamllint"), "--strict", "--config-file", str(ROOT / "k8s/check/yamllint.yaml"), *map(str, files))
    assert linted.returncode == 0, linted.stdout


# ── Judges see mistakes ─────────────────────────────────────────────────────────────────────────


def container(thing: dict) -> dict:
    return thing["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("kind", "plant"),
    [
        ("Deployment", lambda it: it["spec"].update(replica=3)),
        ("Deployment", lambda it: it["spec"].update(minReadySeconds="10")),
        ("Deployment", lambda it: container(it)["readinessProbe"]["httpGet"].pop("port")),
        ("Deployment", lambda it: it["spec"]["template"]["spec"]["topologySpreadConstraints"][0].pop("maxSkew")),
        ("HorizontalPodAutoscaler", lambda it: it.update(apiVersion="autoscaling/v2beta2")),
        ("NetworkPolicy", lambda it: it["spec"]["egress"][0].update(form=[])),
        ("PodDisruptionBudget", lambda it: it["spec"].update(maxUnavaliable=1)),
        ("ServiceMonitor", lambda it: it["spec"]["endpoints"][0].update(interval="5 seconds")),
        ("ServiceMonitor", lambda it: it["spec"]["endpoints"][0].update(pth="/metrics")),
        ("PrometheusRule", lambda it: it["spec"]["groups"][0]["rules"][0].update(fro="5s")),
        ("PrometheusRule", lambda it: it["spec"]["groups"][0]["rules"][0].pop("expr")),
    ],
)
def test_what_kubernetes_would_not_understand_is_seen(production, kind, plant):
    planted = copy.deepcopy(one(production, kind))
    plant(planted)
    assert misunderstood(planted) != []


@pytest.mark.parametrize(
    "plant",
    [
        lambda it: it["spec"]["template"]["spec"]["securityContext"].pop("runAsNonRoot"),
        lambda it: it["spec"]["template"]["spec"]["securityContext"].pop("seccompProfile"),
        lambda it: it["spec"]["template"]["spec"].pop("automountServiceAccountToken"),
        lambda it: container(it)["securityContext"].update(readOnlyRootFilesystem=False),
        lambda it: container(it)["securityContext"]["capabilities"].update(drop=["NET_RAW"]),
        lambda it: container(it)["resources"].pop("limits"),
    ],
)
def test_what_a_pod_has_no_need_to_do_is_seen(production, plant):
    planted = copy.deepcopy(one(production, "Deployment"))
    plant(planted)
    assert unsafe(planted) != []


@pytest.mark.parametrize(
    ("kind", "plant"),
    [
        ("Service", lambda it: it["spec"]["selector"].update({"app.kubernetes.io/name": "outrode"})),
        ("PodDisruptionBudget", lambda it: it["spec"]["selector"].update(matchLabels={})),
        ("NetworkPolicy", lambda it: it["spec"]["podSelector"]["matchLabels"].update(app="outrider")),
        ("HorizontalPodAutoscaler", lambda it: it["spec"]["scaleTargetRef"].update(name="outriders")),
        ("ServiceMonitor", lambda it: it["spec"]["endpoints"][0].update(port="metrics")),
        ("ServiceMonitor", lambda it: it["spec"]["selector"]["matchLabels"].update(component="nodes")),
        ("Deployment", lambda it: container(it)["livenessProbe"]["httpGet"].update(port="web")),
        ("Deployment", lambda it: it["spec"]["template"]["spec"]["volumes"].pop()),
        ("Deployment", lambda it: it["spec"]["template"]["spec"]["volumes"][0]["configMap"].update(name="outrider")),
    ],
)
def test_what_points_nowhere_is_seen(production, kind, plant):
    planted = copy.deepcopy(production)
    plant(one(planted, kind))
    assert dangling(planted) != []


def test_untidy_yaml_is_seen(tmp_path):
    untidy = tmp_path / "untidy.yaml"
    untidy.write_text(yaml.safe_dump({"a": 1}) + "a: 2\n")
    linted = run(tool("yamllint"), "--strict", "--config-file", str(ROOT / "k8s/check/yamllint.yaml"), str(untidy))
    assert "duplication" in linted.stdout and linted.returncode != 0
