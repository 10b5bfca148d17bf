from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.notify.receivers import Webhook, receiving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    async with receiving() as webhook:
        yield webhook
