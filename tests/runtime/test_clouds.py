"""Clouds and Kubernetes: Parsl's own providers are constructed and submit, with stand-ins for their client packages.

No cloud has seen them. What is held here is that every key of a site reaches Parsl under the name that Parsl's
constructor has, and what is made of a missing package, of missing credentials and of a client that refuses.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from click.testing import CliRunner

from psiflow_cli.errors import BadConfig
from psiflow_cli.main import main
from psiflow_cli.runtime.providers import aws, azure, googlecloud, kubernetes
from psiflow_cli.site import load, resolve
from tests.site.sites import machine

kube = pytest.importorskip("parsl.providers.kubernetes.kube")

SITE = """
[providers.cloud]
{keys}
[resources.task]
cores = 2
[executors.default]
provider = "cloud"
resources = "task"
[use]
default = "default"
"""
AWS = 'type = "aws"\nimage_id = "ami-1"\nkey_name = "mine"\ncores_per_node = 8\nworker_init = ["mount /shared"]\n'
GOOGLE = (
    'type = "googlecloud"\nproject_id = "p1"\nkey_file = "$KEY"\nregion = "europe-west4"\ncores_per_node = 8\n'
    'memory_per_node = "30 GB"\nmax_blocks = 3\nworker_init = ["mount /shared"]\n'
)
AZURE = (
    'type = "azure"\nkey_file = "$KEY"\ncores_per_node = 8\nlocation = "westeurope"\nlinger = true\n'
    'vm_reference = { publisher = "Debian", offer = "debian-12", sku = "12-gen2", vm_size = "Standard_F16s_v2" }\n'
)
KUBERNETES = (
    'type = "kubernetes"\nimage = "debian:12"\nmax_cpu = 7.5\nmax_mem = "16Gi"\nworker_init = ["ulimit -c 0"]\n'
    'extra_limits = { "nvidia.com/gpu" = "2" }\npersistent_volumes = [["claim", "/shared"]]\nuser_id = 1000\n'
    "group_id = 100\nrun_as_non_root = true\n"
)
TYPES = {"aws": AWS, "googlecloud": GOOGLE, "azure": AZURE, "kubernetes": KUBERNETES}
MODULES = {module: module._MODULES for module in (aws, azure, googlecloud, kubernetes)}


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory with a key file, and nobody's credentials."""
    monkeypatch.chdir(tmp_path)
    keys = {f"AZURE_{name}": "x" for name in ("CLIENT_ID", "CLIENT_SECRET", "TENANT_ID", "SUBSCRIPTION_ID")}
    Path("key.json").write_text(json.dumps(keys))
    monkeypatch.setenv("KEY", str(tmp_path / "key.json"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
    monkeypatch.setenv(azure.PASSWORD, "secret")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)


def built(module: ModuleType, keys: str) -> Any:
    Path("mine.toml").write_text(SITE.format(keys=keys))
    target = resolve.of_executor(load.load("mine.toml"), "default", machine())
    return module.build(target.provider, target)


def installed(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Let the client packages look importable."""
    for name in MODULES[module]:
        for part in [name.rsplit(".", depth)[0] for depth in range(name.count(".") + 1)]:
            monkeypatch.setitem(sys.modules, part, MagicMock())


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """The `kubernetes.client` that Parsl sees, which keeps what a pod's description is made of."""
    installed(monkeypatch, kubernetes)
    made = MagicMock()
    for name in ("V1Pod", "V1PodSpec", "V1Container", "V1ResourceRequirements", "V1SecurityContext", "V1ObjectMeta"):
        setattr(made, name, lambda **given: SimpleNamespace(given=given, **given))
    monkeypatch.setattr(kube, "_kubernetes_enabled", True)
    monkeypatch.setattr(kube, "config", MagicMock(), raising=False)
    monkeypatch.setattr(kube, "client", made, raising=False)
    return made


def test_a_pod_has_what_the_site_says_and_ends_for_good(client: MagicMock) -> None:
    create = client.CoreV1Api.return_value.create_namespaced_pod
    provider = built(kubernetes, KUBERNETES)
    assert (provider.init_blocks, provider.min_blocks, provider.max_blocks) == (1, 0, 1)
    assert provider.namespace == "default"
    provider.submit("start the pool", 1, "parsl.default.block-0")
    pod = create.call_args.kwargs["body"]
    (container,) = pod.spec.given["containers"]
    assert pod.spec.restart_policy == "Never"
    assert container.given["image"] == "debian:12"
    assert container.given["args"] == ["-c", "ulimit -c 0\n\nstart the pool\n"]
    assert container.resources.given == {
        "limits": {"cpu": "7.5", "memory": "16Gi", "nvidia.com/gpu": "2"},
        "requests": {"cpu": "7.5", "memory": "16Gi"},
    }
    assert container.security_context.given == {"run_as_group": 100, "run_as_user": 1000, "run_as_non_root": True}


def test_tasks_share_what_a_pod_has(client: MagicMock) -> None:
    Path("mine.toml").write_text(SITE.format(keys=KUBERNETES))
    target = resolve.of_executor(load.load("mine.toml"), "default", machine(cores=1))
    assert target.workers == 3  # of 2 cores each, in a pod of 7.5
    assert target.provider.share(machine()).gpus == ("0", "1")
    assert target.provider.share(machine()).memory_mb == 16 * 1024


def test_a_pod_that_was_deleted_has_ended(client: MagicMock) -> None:
    gone = RuntimeError("not found")
    gone.status = 404  # type: ignore[attr-defined]
    looks = [MagicMock(status=MagicMock(phase="Pending")), RuntimeError("no answer"), gone]
    client.CoreV1Api.return_value.read_namespaced_pod = MagicMock(side_effect=looks)
    provider = built(kubernetes, KUBERNETES)
    job = provider.submit("start the pool", 1, "parsl.default.block-0")
    seen = [status.state.name for _ in looks for status in provider.status([job])]
    assert seen == ["PENDING", "PENDING", "FAILED"]


def test_a_user_goes_with_a_group(client: MagicMock) -> None:
    with pytest.raises(BadConfig, match=r"\[providers.cloud\] user_id: needs group_id"):
        built(kubernetes, KUBERNETES.replace("group_id = 100\n", ""))


def test_a_cluster_that_refuses_is_one_line(client: MagicMock, monkeypatch: pytest.MonkeyPatch) -> None:
    client.CoreV1Api.side_effect = RuntimeError("Invalid\nkube-config file")
    with pytest.raises(BadConfig, match=r"\[providers.cloud\]: .* RuntimeError: Invalid kube-config file"):
        built(kubernetes, KUBERNETES)


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    from parsl.providers.googlecloud import googlecloud as theirs

    installed(monkeypatch, googlecloud)
    discovery = MagicMock()
    compute = discovery.discovery.build.return_value
    compute.zones().list().execute.return_value = {"items": [{"name": "europe-west4-b", "status": "UP"}]}
    compute.instances().insert().execute.return_value = {"status": "PROVISIONING"}
    monkeypatch.setattr(theirs, "googleapiclient", discovery, raising=False)
    monkeypatch.setattr(theirs.atexit, "register", lambda _function: None)
    return compute


def test_a_machine_of_google_mounts_works_and_ends_itself(google: MagicMock) -> None:
    provider = built(googlecloud, GOOGLE)
    assert (provider.project_id, provider.zone, provider.max_blocks) == ("p1", "europe-west4-b", 3)
    assert (provider.nodes_per_block, provider.parallelism) == (1, 1), "Parsl's scaling asks for both"
    provider.submit("start the pool", 1, "parsl.default.block-0")
    asked = google.instances().insert.call_args.kwargs
    assert asked["project"] == "p1"
    (item,) = asked["body"]["metadata"]["items"]
    lines = item["value"].splitlines()
    assert lines[:3] == ["#!/bin/bash", "trap 'shutdown -h now' EXIT", "mount /shared"]
    assert "start the pool" in lines
    assert asked["body"]["machineType"].endswith("/n1-standard-1")


@pytest.mark.parametrize("key", ["project_id", "key_file"])
def test_what_google_needs_is_named(google: MagicMock, key: str) -> None:
    keys = "".join(line + "\n" for line in GOOGLE.splitlines() if not line.startswith(key))
    with pytest.raises(BadConfig, match=rf"\[providers.cloud\] {key}: required, but missing"):
        built(googlecloud, keys)


def test_a_key_file_that_is_not_there_is_named(google: MagicMock) -> None:
    with pytest.raises(BadConfig, match=r"\[providers.cloud\] key_file: no .*nowhere.json"):
        built(googlecloud, GOOGLE.replace("$KEY", "nowhere.json"))


def test_a_machine_of_amazon_gets_its_script(monkeypatch: pytest.MonkeyPatch) -> None:
    from parsl.providers.aws import aws as theirs

    installed(monkeypatch, aws)
    boto3 = MagicMock()
    monkeypatch.setattr(theirs, "_boto_enabled", True)
    monkeypatch.setattr(theirs, "boto3", boto3, raising=False)
    monkeypatch.setattr(theirs, "ClientError", RuntimeError, raising=False)
    Path("state.json").write_text(json.dumps({"vpcID": "v", "sgID": "s", "snIDs": ["n"], "instances": []}))
    provider = built(
        aws, AWS + 'profile = "lab"\nstate_file = "state.json"\nregion = "eu-west-1"\nspot_max_bid = 0.5\n'
    )
    boto3.session.Session.assert_called_with(profile_name="lab", region_name="eu-west-1")
    client = boto3.session.Session.return_value.client.return_value
    client.describe_instance_type_offerings.return_value = {"InstanceTypeOfferings": [{"Location": "a"}]}
    client.describe_subnets.return_value = {"Subnets": [{"SubnetId": "n", "AvailabilityZone": "a"}]}
    instance = MagicMock(id="i-1", instance_id="i-1", state={"Name": "pending"})
    create = boto3.session.Session.return_value.resource.return_value.create_instances
    create.return_value = [instance]
    assert provider.submit("start the pool", 1) == "i-1"
    asked = create.call_args.kwargs
    assert (asked["ImageId"], asked["KeyName"], asked["InstanceType"]) == ("ami-1", "mine", "t2.small")
    assert asked["InstanceMarketOptions"]["SpotOptions"]["MaxPrice"] == "0.5"
    assert asked["UserData"].index("mount /shared") < asked["UserData"].index("start the pool")


def test_amazon_without_credentials_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from parsl.providers.aws import aws as theirs

    installed(monkeypatch, aws)
    monkeypatch.setattr(theirs, "_boto_enabled", True)
    with pytest.raises(BadConfig, match=r"\[providers.cloud\]: aws cannot be used: .*AWS_ACCESS_KEY_ID"):
        built(aws, AWS)


def test_a_machine_of_azure_has_its_password_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from parsl.providers.azure import azure as theirs

    installed(monkeypatch, azure)
    monkeypatch.setattr(theirs, "_api_enabled", True)
    for name in ("ResourceManagementClient", "ComputeManagementClient", "NetworkManagementClient"):
        monkeypatch.setattr(theirs, name, MagicMock(), raising=False)
    monkeypatch.setattr(theirs, "ServicePrincipalCredentials", MagicMock(), raising=False)
    provider = built(azure, AZURE)
    assert provider.vm_reference == {
        "publisher": "Debian", "offer": "debian-12", "sku": "12-gen2", "version": "latest", "disk_size_gb": 30,
        "vm_size": "Standard_F16s_v2", "admin_username": "psiflow", "password": "secret",
    }  # fmt: skip
    assert provider.create_vm_parameters("nic", provider.vm_reference)["os_profile"]["admin_password"] == "secret"
    assert (provider.location, provider.linger, provider.clientid) == ("westeurope", True, "x")
    assert provider.group_name == provider.vnet_name
    monkeypatch.delenv(azure.PASSWORD)
    with pytest.raises(BadConfig, match=rf"\[providers.cloud\] type: azure needs \${azure.PASSWORD}"):
        built(azure, AZURE)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_missing_packages_are_named_with_what_installs_them(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    for name in MODULES[module]:
        monkeypatch.setitem(sys.modules, name, None)  # import fails, whatever this machine has
    with pytest.raises(BadConfig, match="not installed beside psiflow") as raised:
        built(module, TYPES[module.__name__.rpartition(".")[2]])
    assert raised.value.message.startswith("[providers.cloud] type: ")
    assert raised.value.hint.startswith("pip install 'parsl[")


def test_the_command_line_shows_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    done = CliRunner().invoke(main, ["site", "show", "kubernetes", "--script", "default"])
    assert done.exit_code == 78
    assert "Traceback" not in done.output
    assert "pip install 'parsl[kubernetes]'" in done.output


def test_site_check_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "googleapiclient.discovery", None)
    done = CliRunner().invoke(main, ["site", "check", "googlecloud"])
    assert done.exit_code == 78
    assert "default: googleapiclient.discovery not installed beside psiflow: pip install" in done.output
    assert "default: project_id: required, but missing" in done.output


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        (KUBERNETES.replace("16Gi", "16 GB"), "max_mem"),
        (KUBERNETES.replace("7.5", '"7.5"'), "max_cpu"),
        (KUBERNETES.replace("debian:12", "debian:12; reboot"), "image"),
        (KUBERNETES.replace("/shared", "shared"), "persistent_volumes"),
        (AWS.replace("ami-1", "$(reboot)"), "image_id"),
        (AWS + 'walltime = "1:00:00"\n', "walltime"),
        (AZURE.replace("sku = ", "skv = "), "skv"),
        (AZURE + 'password = "secret"\n', "password"),
        (GOOGLE.replace("cores_per_node = 8", "cores_per_node = 0"), "cores_per_node"),
        (GOOGLE.replace("30 GB", "plenty"), "memory_per_node"),
    ],
)
def test_wrong_keys_are_named(keys: str, wrong: str) -> None:
    Path("mine.toml").write_text(SITE.format(keys=keys))
    with pytest.raises(BadConfig) as raised:
        load.load("mine.toml")
    assert raised.value.message.startswith("mine.toml: [providers.cloud] ")
    assert wrong in raised.value.message


def test_the_shipped_kubernetes_site_makes_pods(client: MagicMock, root: Path) -> None:
    site = load.parse(root / "site.d" / "kubernetes.toml")
    assert "not tested on a real" in site.description
    made = {}
    for label in site.executors:
        target = resolve.of_executor(site, label, machine())
        made[label] = kubernetes.build(target.provider, target)
    assert (made["default"].max_cpu, made["default"].max_mem, made["default"].extra_limits) == (16, "32Gi", {})
    assert made["model"].extra_limits == {"nvidia.com/gpu": "1"} == made["model"].extra_requests
    assert {tuple(provider.persistent_volumes) for provider in made.values()} == {(("psiflow", "/shared"),)}


def test_the_shipped_google_site_makes_machines(google: MagicMock, root: Path) -> None:
    lines = [f'providers.{name}.{key} = "{value}"' for name in ("cpu", "gpu") for key, value in
             (("project_id", "p1"), ("key_file", "key.json"), ("region", "europe-west4"))]  # fmt: skip
    Path("googlecloud.toml").write_text("\n".join(['extends = "googlecloud"', *lines]))
    site = load.load("googlecloud")
    assert "not tested on a real" in site.description
    made = {}
    for label in site.executors:
        target = resolve.of_executor(site, label, machine())
        made[label] = googlecloud.build(target.provider, target)
    assert made["reference"].instance_type == "c2d-standard-32"
    assert made["model"].instance_type == "g2-standard-8"
    assert {provider.project_id for provider in made.values()} == {"p1"}
