"""No password reaches a message."""

import pytest

from fer_live.redact import redact, redact_address
from fer_live.types import OutputError, SourceError

SECRETS = [  # each has a secret, made of the letters "s3cr3t" and what stands around it
    ("rtsp://admin:s3cr3t@host/ch1", "rtsp://host/ch1"),
    ("rtsp://admin:p@s3cr3t@host", "rtsp://host"),
    ("rtsp://admin:a/s3cr3t@host/ch1", "rtsp://host/ch1"),
    ("rtsp://admin:a?s3cr3t@host/ch1", "rtsp://***"),
    ("rtsp://admin:a#s3cr3t@host", "rtsp://***"),
    ("rtsp://admin:a?b=s3cr3t@host", "rtsp://***"),
    ("rtsp://s3cr3t@host/x", "rtsp://host/x"),
    ("RTSP://admin:s3cr3t@host:554/x", "RTSP://host:554/x"),
    ("rtsp://admin:s3cr3t@[fe80::1]:554/x", "rtsp://[fe80::1]:554/x"),
    ("http://host/snap.cgi?user=admin&pwd=s3cr3t", "http://host/snap.cgi?user=***&pwd=***"),
    ("http://host/snap.cgi?user=admin;pwd=s3cr3t;n=1", "http://host/snap.cgi?user=***;pwd=***;n=***"),
    ("http://host/snap.cgi?pwd=a&s3cr3t", "http://host/snap.cgi?pwd=***&***"),
    ("http://host/snap.cgi?s3cr3t", "http://host/snap.cgi?***"),
    ("http://host/snap.cgi?pwd=a/s3cr3t@b", "http://host/snap.cgi?pwd=***"),
    ("http://host:80/snap.cgi?pwd=a@s3cr3t", "http://***"),
    ("http://host/x?pwd=a?s3cr3t=1", "http://host/x?pwd=***?s3cr3t=***"),
    ("rtsp://host:554/user=admin&password=s3cr3t&channel=1", "rtsp://host:554/user=***&password=***&channel=***"),
    ("rtsp://host/user=admin_password=s3cr3t_stream=0.sdp?real_stream", "rtsp://host/user=***?***"),
    ("http://u:s3cr3t@host/x?key=s3cr3t#s3cr3t", "http://host/x?key=***#***"),
    ("rtsp:/admin:s3cr3t@host", "rtsp:/host"),
    ("//admin:s3cr3t@host/x", "//host/x"),
    ("admin:s3cr3t@192.168.0.9/live", "192.168.0.9/live"),
    ("rtsp://admin:two s3cr3t@host/x", "rtsp://host/x"),
]
PLAIN = ["rtsp://host:554/live/ch1", "http://host/a.mjpg", "demo", "clip.mp4", "/dev/video0", "a/b@c.mp4", "C:\\me@work\\a.mp4"]
KNOWN_KEY = "http://host/x?pwd=a?s3cr3t=1"  # here the letters are taken for the name of a key


@pytest.mark.parametrize(("address", "shown"), SECRETS, ids=[address for address, _ in SECRETS])
def test_an_address_is_shown_without_its_secrets(address, shown):
    assert redact_address(address) == shown
    assert redact_address(shown) == shown, "twice is as good as once"
    for text in (f"{address} is lost (no answer); reconnecting", f"no source {address!r}; give another", f"a ({address}) b"):
        if " " not in address and address != KNOWN_KEY:
            assert "s3cr3t" not in redact(text) and "s3cr3t" not in str(SourceError(text)) + str(OutputError(text))


@pytest.mark.parametrize("address", PLAIN)
def test_what_holds_no_secret_stays_as_it_is(address):
    assert redact_address(address) == redact(address) == address
    text = f"cannot open {address}: no such file; is it 10:30 already (see --list-cameras)?"
    assert redact(text) == text == str(SourceError(text))
