"""The image of the documents and that of systemd/containers: what they install, and when they count as healthy."""

from __future__ import annotations

import json
import re
import socket
import threading
from pathlib import Path

import pytest

from bgjob import retrying
from bgjob.errors import DaemonUnavailableError

TREE = Path(__file__).resolve().parents[2]
IMAGES = ("docs/service.md", "systemd/containers/Containerfile")
TEXTS = {image: (TREE / image).read_text(encoding="utf-8") for image in IMAGES}


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_the_wheel_that_was_built_here_and_nothing_of_that_name_from_an_index(
    image: str,
) -> None:
    (installed,) = re.findall(r"^RUN python -m pip install ([^&]*)", TEXTS[image], re.MULTILINE)
    assert "COPY bgjobd-*.whl /tmp/\n" in TEXTS[image]
    assert re.findall(r"\S*bgjobd\S*", installed) in (
        ["/tmp/bgjobd-*.whl"],
        ['/tmp/bgjobd-*.whl)[postgres]"'],
    )


def _asked_by(image: str) -> str:
    """The code by which the image asks whether it is well; its client knows where by $BGJOBD_SOCKET."""
    assert re.search(r"\bBGJOBD_SOCKET=/", TEXTS[image])
    (command,) = re.findall(r"^HEALTHCHECK CMD (.+)$", TEXTS[image], re.MULTILINE)
    python, option, code = json.loads(command)
    assert (python, option) == ("python", "-c")
    return str(code)


@pytest.mark.parametrize("image", IMAGES)
def test_a_container_is_healthy_while_its_daemon_answers_whatever_else_is_wrong(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "GIVE_UP_AFTER", 0.0)
    monkeypatch.setenv("BGJOBD_SOCKET", str(tmp_path / "s.sock"))
    with pytest.raises(DaemonUnavailableError):
        exec(_asked_by(image), {})
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.sock"))
        listener.listen()
        answering = threading.Thread(target=_answer, args=[listener])
        answering.start()
        exec(_asked_by(image), {})
        answering.join()


def _answer(listener: socket.socket) -> None:
    peer, _ = listener.accept()
    with peer:
        peer.recv(1 << 16)
        peer.sendall(b'{"parameters":{}}\0')
