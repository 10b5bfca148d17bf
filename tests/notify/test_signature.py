"""Signatures of webhooks."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from miningmap.notify.signature import headers_of, key_of

# The example of the specification Standard Webhooks, from the tests of its libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # a public example
ID, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_example_of_the_specification_is_signed_as_there() -> None:
    for secret in (SECRET, SECRET.removeprefix("whsec_")):
        assert headers_of(ID, TIMESTAMP, BODY, key_of(secret)) == {
            "webhook-id": ID,
            "webhook-timestamp": "1614265330",
            "webhook-signature": SIGNATURE,
        }


def test_the_function_of_the_guide_knows_what_is_genuine() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "notify.md").read_text()
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    known: dict[str, Any] = {}
    exec(snippet, known)  # noqa: S102 - code of this project
    is_genuine = known["is_genuine"]
    now = int(time.time())
    for secret in (SECRET, SECRET.removeprefix("whsec_")):
        headers = headers_of(ID, now, BODY, key_of(SECRET))
        assert is_genuine(headers, BODY, secret)
        assert is_genuine(
            headers | {"webhook-signature": f"v1,x {headers['webhook-signature']}"}, BODY, secret
        )
        assert not is_genuine(headers, BODY + b" ", secret)
        assert not is_genuine(headers | {"webhook-id": "other"}, BODY, secret)
        assert not is_genuine(headers | {"webhook-timestamp": str(now + 1)}, BODY, secret)
    assert not is_genuine(headers_of(ID, now, BODY, b"k" * 24), BODY, SECRET)
    assert not is_genuine(headers_of(ID, now - 600, BODY, key_of(SECRET)), BODY, SECRET)


def test_without_a_key_there_is_no_signature() -> None:
    assert headers_of(ID, TIMESTAMP, BODY, None).keys() == {"webhook-id", "webhook-timestamp"}


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "correct horse", "whsec_" + b64encode(b"k" * 23).decode(), "ünïcode"]
)
def test_a_secret_that_is_too_short_or_not_base64_is_an_error_without_it(secret: str) -> None:
    with pytest.raises(ValueError, match="expected at least 24 bytes in base64") as error:
        key_of(secret)
    assert not secret or secret not in str(error.value)
