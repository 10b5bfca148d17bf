"""What schemathesis asks beyond its own checks; it loads this by ``SCHEMATHESIS_HOOKS``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import schemathesis

if TYPE_CHECKING:
    from schemathesis import Case, CheckContext, Response

# Of these it depends on another parameter, or on a list too long for a schema, what is allowed.
BEYOND_A_SCHEMA = {"code", "country", "from"}


@schemathesis.check
def only_what_no_schema_can_say_is_refused(
    _context: CheckContext, response: Response, case: Case[Any]
) -> None:
    refused = response.status_code == 400 and case.method != "HEAD"
    if refused and case.meta is not None and case.meta.generation.mode.is_positive:
        parameter = response.json()["parameter"]
        assert parameter in BEYOND_A_SCHEMA, f"{parameter} is allowed, and refused"
