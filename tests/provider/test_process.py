"""The provider as a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2_grpc

from cellwave.sandbox.provider import serve


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_its_port_and_leaves_quietly(number: signal.Signals) -> None:
    """It prints the port once it listens, and a signal ends it without a word."""
    command = [sys.executable, "-m", "cellwave.sandbox.provider", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=20)
            assert provider_pb2_grpc.ResourceProviderStub(channel)
        process.send_signal(number)
        rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest, errors) == (0, "", "")


def test_a_taken_port_is_an_error() -> None:
    """Two providers can't listen on one port: the second says so."""
    server, port = serve()
    with pytest.raises(OSError, match=str(port)):
        serve(port)
    server.stop(0).wait()
