"""What administrators start: the container's health, and manifests that say what they must."""

from __future__ import annotations

import argparse
import re
import shlex
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import container_health
import pytest
import yaml

from wsi_pipeline.cli import serve
from wsi_pipeline.cli.invocation import CONTAINER_VARIABLE, review_command
from wsi_pipeline.cli.main import COMMANDS
from wsi_pipeline.config import load_config

ROOT = Path(__file__).parents[1]
MANIFESTS = [*yaml.safe_load_all((ROOT / "scripts/kubernetes.yaml").read_text())]


@pytest.fixture
def answering() -> Iterator[Any]:
    """Start servers that answer everything with one status."""
    servers = []

    def start(status: int) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "well"), [(200, True), (401, True), (500, False)])
def test_a_server_is_well_when_it_answers_if_only_to_refuse(
    answering: Any, status: int, well: bool
) -> None:
    assert container_health.is_well(answering(status)) is well


def test_a_server_that_hangs_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_health, "PATIENCE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not container_health.is_well(silent.getsockname()[1])


def test_a_container_that_serves_nothing_is_well() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert container_health.is_well(port)


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for manifest in MANIFESTS:
        if "template" in manifest["spec"]:
            yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]


def test_every_pod_runs_as_a_plain_user_on_a_read_only_root() -> None:
    found = dict(pods())
    assert [*found] == ["wsi-scheduler", "wsi-workers", "wsi-run"]
    for pod in found.values():
        assert pod["securityContext"]["runAsNonRoot"]
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_the_image_s_user_and_paths_are_those_of_the_pods() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for _, pod in pods():
        user = pod["securityContext"]
        assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in dockerfile
    assert 'ENTRYPOINT ["wsi-pipeline"]' in dockerfile
    assert (ROOT / "scripts/container_health.py").is_file()
    run = dict(pods())["wsi-run"]["containers"][0]["args"]
    assert run[0] in COMMANDS
    port = MANIFESTS[0]["spec"]["ports"][0]["port"]
    assert f"tcp://{MANIFESTS[0]['metadata']['name']}:{port}" in run


def test_what_is_said_in_a_container_of_our_image_holds_on_its_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(CONTAINER_VARIABLE, raising=False)
    assert review_command(Path("/out")).endswith("serve /out --open")
    dockerfile = (ROOT / "Dockerfile").read_text()
    (value,) = re.findall(rf"^ +{CONTAINER_VARIABLE}=(\S+)$", dockerfile, re.MULTILINE)
    monkeypatch.setenv(CONTAINER_VARIABLE, value)
    said = review_command(Path("/out"))
    assert "--open" not in said  # there is no browser
    (port,) = re.findall(r"run this image again with (-p 127\.0\.0\.1:\d+:\d+)", said)
    assert port in dockerfile
    assert said.endswith("serve /out --host 0.0.0.0")
    assert serve.address_of("0.0.0.0", 8000) == "http://127.0.0.1:8000/"


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_configuration_that_we_offer_is_valid(path: Path) -> None:
    assert load_config(path).model


def test_the_service_of_systemd_gives_options_that_exist() -> None:
    unit = (ROOT / "configs/systemd/wsi-pipeline.service").read_text()
    (command,) = re.findall(r"^ExecStart=(.*?)(?<!\\)$", unit, re.MULTILINE | re.DOTALL)
    program, *words = shlex.split(command.replace("\\\n", " "))
    assert Path(program).name == "wsi-pipeline"
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    options, unknown = parser.parse_known_args(words[1:])
    assert words[0] == "serve"
    assert unknown == ["--log-json"]  # which every command has
    assert options.users == Path("/etc/wsi-pipeline/users")
    # the one place that may be written to holds reviews and audit log
    assert f"ReadWritePaths={options.out}\n" in unit
