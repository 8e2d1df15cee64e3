"""No variable of a shell keeps commands, workers or probes from working: at most a request, and in words."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.config import Config

from cellwave.environment import direct, portable, with_account
from cellwave.errors import BadInput
from cellwave.fleet.model import ProbeSignal
from cellwave.health.http import HttpSource
from cellwave.health.model import ProbeReading
from cellwave.health.ports import Scope, Wanted
from cellwave.project import Project
from cellwave.web import proxy_for

SCOPE = Scope(
    cell="c", service="s", account="1" * 12, aws_region="eu-west-1", region="eu", role=None, outputs={}
)
PROXIES = (
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
)
AWKWARD = [
    {"NO_PROXY": "fd00::/8,10.0.0.0/8"},
    {"NO_PROXY": "::1/128"},
    {"NO_PROXY": "[::1]"},
    {"ALL_PROXY": "socks5://127.0.0.1:9"},
    {"HTTP_PROXY": "socks5h://127.0.0.1:9", "NO_PROXY": "fd00::/8"},
    {"HTTP_PROXY": "http://127.0.0.1:9"},
    {"HTTP_PROXY": "127.0.0.1:9"},
    {"ALL_PROXY": "nonsense://x"},
    {"HTTP_PROXY": "http://[::1"},
    {"SSL_CERT_FILE": "/nowhere.pem"},
]


class Handler(BaseHTTPRequestHandler):
    """Answers everything as a service (or SSM) would."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def here() -> Iterator[str]:
    """The URL of a server on this machine."""
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A shell without proxies."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def probe(url: str) -> ProbeReading:
    """What a probe of the URL reads."""
    (reading,) = HttpSource().read([Wanted(signal=ProbeSignal(url=url), scope=SCOPE, since=0)])
    assert isinstance(reading, ProbeReading)
    return reading


@pytest.mark.parametrize("variables", AWKWARD, ids=str)
def test_this_machine_is_asked_whatever_the_proxies_are(
    here: str, shell: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """Loopback needs no proxy, for probes and for boto3 with the environment of deployments."""
    for name, value in variables.items():
        shell.setenv(name, value)
    if "SSL_CERT_FILE" not in variables:
        assert probe(here).status == 200
    for name, value in portable(os.environ, os.getcwd()).items():
        shell.setenv(name, value)
    shell.setenv("AWS_ACCESS_KEY_ID", "1" * 12)
    shell.setenv("AWS_SECRET_ACCESS_KEY", "x")
    quick = Config(connect_timeout=2, retries={"max_attempts": 0})
    client = boto3.client("ssm", "eu-west-1", endpoint_url=here, config=quick)
    assert client.describe_parameters()["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize(
    "variables",
    [{"ALL_PROXY": "socks5://127.0.0.1:9"}, {"HTTP_PROXY": "nonsense://x"}, {"HTTP_PROXY": "http://[::1"}],
)
def test_an_unusable_proxy_is_told_in_words(shell: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """A probe of another machine says what is wrong with the proxy; nothing is raised."""
    for name, value in variables.items():
        shell.setenv(name, value)
    reading = probe("http://service.example/healthz")
    assert reading.status == 0
    assert "proxy" in reading.reason.lower()


@pytest.mark.parametrize(
    ("url", "no", "direct_way"),
    [
        ("http://[fd00::7]/", "fd00::/8", True),
        ("http://[fe80::7]/", "fd00::/8", False),
        ("http://10.1.2.3/", "10.0.0.0/8", True),
        ("http://a.example/", ".example", True),
        ("http://example/", "example", True),
        ("http://notexample/", "example", False),
        ("http://a.example/", "*.example", True),
        ("http://a.example:8080/", "a.example:8080", True),
        ("http://a.example/", "a.example:8080", False),
        ("http://a.example/", "*", True),
        ("http://127.8.8.8/", "", True),
        ("http://localhost/", "", True),
        ("http://a.example/", "", False),
    ],
)
def test_no_proxy_means_what_it_says(url: str, no: str, direct_way: bool) -> None:
    """Hosts, domains, ports, addresses and ranges."""
    assert (proxy_for(httpx.URL(url), {"http": "proxy:3128", "no": no}) is None) == direct_way


def test_loopback_joins_no_proxy_only_where_there_is_a_proxy() -> None:
    """What was there stays."""
    assert direct({"PATH": "/bin"}) == {}
    assert (
        direct({"HTTPS_PROXY": "http://p", "NO_PROXY": "a.example"})["NO_PROXY"]
        == "a.example,localhost,127.0.0.1,::1"
    )
    assert direct({"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}) == {}


def test_relative_paths_mean_the_same_in_a_worker() -> None:
    """Everything that names a file is made absolute from the command's own folder."""
    made = portable({"CELLWAVE_HOME": "home", "PULUMI_CONFIG_PASSPHRASE_FILE": "/p", "PULUMI_HOME": ""}, "/w")
    assert made == {"CELLWAVE_HOME": "/w/home", "PULUMI_CONFIG_PASSPHRASE_FILE": "/p", "PULUMI_HOME": ""}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_anothers_home_is_refused() -> None:
    """A folder that can be written and not made private: said, and nothing is put there."""
    code = (
        "import os; from pathlib import Path\n"
        "from cellwave.project import Project; from cellwave.errors import BadInput\n"
        "os.setuid(54321)\n"
        "try: Project(Path('/')).make_home()\n"
        "except BadInput as error: print(error.exit_code, error)"
    )
    with tempfile.TemporaryDirectory() as home:  # pytest's own folders are root's alone
        Path(home).chmod(0o777)
        env = {**os.environ, "CELLWAVE_HOME": home}
        ran = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        assert ran.stdout.startswith("2 CELLWAVE_HOME")
        assert "uid 0's" in ran.stdout
        assert not list(Path(home).iterdir())


def test_a_home_that_is_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, with exit code 2."""
    (tmp_path / "home").write_text("")
    monkeypatch.setenv("CELLWAVE_HOME", str(tmp_path / "home"))
    with pytest.raises(BadInput, match="CELLWAVE_HOME"):
        Project(tmp_path).make_home()


def test_an_account_without_a_name_can_deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine asks for a user's name and home; a container run by a number has neither."""
    named = with_account({"A": "b"}, tmp_path)
    assert named == {"A": "b"}

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    made = with_account({"HOME": ""}, tmp_path)
    assert made == {"USER": str(os.getuid()), "HOME": str(tmp_path)}
    own = {"USER": "me", "HOME": str(tmp_path / "gone")}
    assert with_account(own, tmp_path) == own | {"PULUMI_HOME": str(tmp_path / ".pulumi")}
