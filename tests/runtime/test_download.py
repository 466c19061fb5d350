"""A file comes whole and as published, within seconds, over https, or not at all."""

import hashlib
import io
import threading
import time
import urllib.error
import urllib.request

import pytest

from ptft.errors import FetchError
from ptft.runtime import download
from ptft.runtime.download import fetch, forbidden, within

CONTENT = b"weights" * 100_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
URL = "https://weights.example/model-12345678.pth"


class Answer(io.BytesIO):
    """What an opened address gives."""

    def __init__(self, content):
        super().__init__(content)
        self.headers = {"Content-Length": str(len(CONTENT))}


def serve(monkeypatch, answer):
    def open_url(url):
        assert url == URL
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(download, "open_url", open_url)


def test_a_file_comes_whole_and_its_folder_is_made(tmp_path, monkeypatch):
    serve(monkeypatch, Answer(CONTENT))
    said = []
    target = tmp_path / "hub" / "checkpoints" / "model.pth"
    fetch(URL, target, DIGEST[:8], said.append)
    assert target.read_bytes() == CONTENT
    assert said == [f"fetching {URL} (0.7 MB)"]
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(CONTENT[:-1]), "what came is not what was published"),
        (urllib.error.URLError(OSError("Name or service not known")), "Name or service not known"),
        (urllib.error.HTTPError(URL, 404, "Not Found", {}, None), "Not Found"),
        (ConnectionResetError("reset by peer"), "reset by peer"),
    ],
)
def test_what_goes_wrong_is_told_and_leaves_nothing(tmp_path, monkeypatch, answer, words):
    serve(monkeypatch, answer)
    with pytest.raises(FetchError, match=words):
        fetch(URL, tmp_path / "model.pth", DIGEST[:8], print)
    assert list(tmp_path.iterdir()) == []


def test_only_https_with_a_digest_is_fetched(tmp_path):
    for url, digest in (("http://weights.example/model.pth", DIGEST), ("file:///etc/passwd", DIGEST), (URL, "")):
        with pytest.raises(FetchError, match="only https"):
            fetch(url, tmp_path / "model.pth", digest, print)


def test_a_redirection_away_from_https_is_refused():
    handler = download._OnlyHttps()
    request = urllib.request.Request(URL)
    with pytest.raises(urllib.error.URLError, match="not https"):
        handler.redirect_request(request, io.BytesIO(), 302, "Found", {}, "http://weights.example/model.pth")
    followed = handler.redirect_request(request, io.BytesIO(), 302, "Found", {}, "https://other.example/model.pth")
    assert followed is not None and followed.full_url == "https://other.example/model.pth"


def test_no_answer_ends_after_the_deadline_and_errors_pass_through():
    gate = threading.Event()
    with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
        within(0.01, gate.wait)
    gate.set()
    with pytest.raises(KeyError):
        within(5, lambda: {}["x"])
    assert within(5, time.monotonic) > 0


def test_the_network_can_be_forbidden(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert forbidden() is None
    assert "offline=true" in forbidden(offline=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in forbidden()
