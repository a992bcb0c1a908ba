"""Deployment files use flags, paths, settings and files that there are."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from gglib_proxy.limits import Limits
from gglib_proxy.routes import UNKNOWN, find_route
from gglib_runtime.cli.program import program
from gglib_runtime.settings.loading import NOT_SETTINGS
from gglib_runtime.settings.schema import Settings, declarations

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUBERNETES: list[dict[str, Any]] = list(
    yaml.safe_load_all((DEPLOY / "kubernetes" / "gglib.yaml").read_text())
)
PROMETHEUS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
DEPLOYMENT = next(each for each in KUBERNETES if each["kind"] == "Deployment")
POD: dict[str, Any] = DEPLOYMENT["spec"]["template"]["spec"]
CONTAINER: dict[str, Any] = POD["containers"][0]
PORT = 8080
LONGEST_END_SECONDS = Limits().drain_seconds + 5.0


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#",), delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((DEPLOY / "systemd" / name).read_text())
    return parser  # type: ignore[return-value]


def instructions() -> list[tuple[str, str]]:
    """Of the Containerfile's last stage, with continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", CONTAINERFILE))
    lines = [line.partition(" ") for line in text.splitlines() if line.strip()]
    pairs = [(name, rest.strip()) for name, _, rest in lines]
    last = max(index for index, (name, _) in enumerate(pairs) if name == "FROM")
    return pairs[last:]


def instruction(name: str) -> str:
    found = [rest for each, rest in instructions() if each == name]
    assert len(found) == 1
    return found[0]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every way in which the files start gglib."""
    yield "Containerfile", json.loads(instruction("CMD"))
    yield "Kubernetes", CONTAINER["args"]
    yield "systemd", shlex.split(unit("gglib.service")["Service"]["ExecStart"])[1:]


@pytest.mark.parametrize("where", [where for where, _ in commands()])
def test_gglib_takes_the_arguments(where: str) -> None:
    name, *arguments = dict(commands())[where]
    command = program.get_command(click.Context(program), name)
    assert command is not None
    with command.make_context(name, arguments) as context:
        assert context.params["host"] == ("systemd" if where == "systemd" else "0.0.0.0")
        assert context.params["port"] == (None if where == "systemd" else str(PORT))


def probed_paths() -> Iterator[str]:
    yield CONTAINER["livenessProbe"]["httpGet"]["path"]
    yield CONTAINER["readinessProbe"]["httpGet"]["path"]
    yield PROMETHEUS["scrape_configs"][0]["metrics_path"]
    yield from re.findall(rf"http://127\.0\.0\.1:{PORT}(/\w+)", instruction("HEALTHCHECK"))


def test_probes_ask_at_paths_that_there_are_and_need_no_key() -> None:
    paths = list(probed_paths())
    assert paths == ["/live", "/ready", "/metrics", "/ready"]
    routes = [find_route(path.encode()) for path in paths]
    assert UNKNOWN not in routes
    assert [route.endpoint is None for route in routes] == [True, True, False, True]
    assert PROMETHEUS["scrape_configs"][0]["authorization"]["type"] == "Bearer"


def environments() -> Iterator[str]:
    yield from re.findall(r"\b(GGLIB_\w+)=", instruction("ENV"))
    yield from COMPOSE["services"]["gglib"]["environment"]
    yield from (each["name"] for each in CONTAINER["env"])
    yield from re.findall(r"\b(GGLIB_\w+)=", (DEPLOY / "systemd" / "gglib.service").read_text())


@pytest.mark.parametrize("name", sorted(set(environments())))
def test_every_variable_means_something(name: str) -> None:
    known = {f"GGLIB_{key.upper()}" for key in declarations()} | NOT_SETTINGS
    assert name in known


def test_the_container_is_nobody_special() -> None:
    assert instruction("FROM") == "docker.io/library/python:3.12-slim"
    user = instruction("USER")
    assert user.isdigit()
    assert user != "0"
    assert POD["securityContext"]["runAsUser"] == int(user)
    assert POD["securityContext"]["runAsNonRoot"]
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"]
    assert CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert COMPOSE["services"]["gglib"]["read_only"]


def test_compose_substitutes_nothing_but_variables() -> None:
    # What stands behind `:?` is substituted too, and before it is known whether it is needed.
    text = json.dumps(COMPOSE)
    rest = re.sub(r"\$\{[A-Z_]+(:[?-][^${}]*)?\}", "", text)
    assert "${GGLIB_API_KEY:?" in text
    assert "$" not in rest


def test_a_restart_leaves_the_modes_of_files_in_the_volume_alone() -> None:
    # Kubernetes adds group permissions to every file else, and the pepper is refused with them.
    assert "fsGroup" in POD["securityContext"]
    assert POD["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_what_installs_the_unit_takes_the_checkout() -> None:
    text = (DEPLOY / "systemd" / "gglib.service").read_text()
    assert "pip install '.[embedded]'" in text
    for copied in re.findall(r"cp (deploy/\S+)", text):
        assert list(REPOSITORY.glob(copied))


def test_the_ports_are_one() -> None:
    assert instruction("EXPOSE") == str(PORT)
    assert CONTAINER["ports"] == [{"name": "http", "containerPort": PORT}]
    service = next(each for each in KUBERNETES if each["kind"] == "Service")
    assert service["spec"]["ports"][0]["targetPort"] == CONTAINER["ports"][0]["name"]
    assert COMPOSE["services"]["gglib"]["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert unit("gglib.socket")["Socket"]["ListenStream"] == f"127.0.0.1:{PORT}"
    assert PROMETHEUS["scrape_configs"][0]["static_configs"][0]["targets"] == [f"gglib:{PORT}"]


def test_whoever_ends_gglib_waits_until_answers_have_ended() -> None:
    assert Settings().stop_grace_seconds + Limits().drain_seconds == LONGEST_END_SECONDS
    assert POD["terminationGracePeriodSeconds"] > LONGEST_END_SECONDS
    assert int(unit("gglib.service")["Service"]["TimeoutStopSec"]) > LONGEST_END_SECONDS
    assert COMPOSE["services"]["gglib"]["stop_grace_period"] == "60s"


def test_what_the_build_copies_is_there_and_is_let_in() -> None:
    ignored = (DEPLOY / "Containerfile.dockerignore").read_text().split()
    text = CONTAINERFILE.partition("\nFROM docker.io/library/python:3.12-slim\n")[0]
    copied = [name for line in re.findall(r"(?m)^COPY (.*) \S+$", text) for name in line.split()]
    assert copied
    for name in copied:
        assert (REPOSITORY / name).exists(), name
        assert f"!{name}" in ignored


def test_the_extras_that_are_installed_exist() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text()
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", CONTAINERFILE)
    for extra in extras.split(","):
        assert re.search(rf"(?m)^{extra} = \[", project), extra


def test_volumes_that_are_mounted_are_declared() -> None:
    declared = {each["name"] for each in POD["volumes"]}
    assert {each["name"] for each in CONTAINER["volumeMounts"]} == declared
    claims = {e["metadata"]["name"] for e in KUBERNETES if e["kind"] == "PersistentVolumeClaim"}
    used = {e["persistentVolumeClaim"]["claimName"] for e in POD["volumes"] if "emptyDir" not in e}
    assert used == claims
    for service in COMPOSE["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), source
            elif not source.startswith("$"):
                assert source in COMPOSE["volumes"], source


def test_selectors_select_the_pod() -> None:
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    service = next(each for each in KUBERNETES if each["kind"] == "Service")
    assert service["spec"]["selector"] == labels
    assert DEPLOYMENT["spec"]["strategy"] == {"type": "Recreate"}  # two may not share the data


def test_the_service_gets_its_socket() -> None:
    service = unit("gglib.service")
    assert service["Unit"]["Requires"] == "gglib.socket"
    assert (DEPLOY / "systemd" / "gglib.socket").exists()
    assert int(service["Service"]["LimitNOFILE"]) >= 2 * Limits().max_connections


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for name in ("gglib.service", "gglib.socket"):
        text = (DEPLOY / "systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/gglib/bin/gglib", "/bin/true"))
    command = ["systemd-analyze", "verify", *map(str, tmp_path.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in done.stderr.splitlines() if "gglib." in line]
    assert (done.returncode, ours) == (0, [])


def test_prometheus_reads_the_alerts_that_are_there() -> None:
    for name in PROMETHEUS["rule_files"]:
        assert (DEPLOY / "prometheus" / name).exists()
    key = PROMETHEUS["scrape_configs"][0]["authorization"]["credentials_file"]
    targets = [each["target"] for each in COMPOSE["services"]["prometheus"]["configs"]]
    assert key in targets
