"""A check for schemathesis, which loads this module by ``SCHEMATHESIS_HOOKS``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import schemathesis

if TYPE_CHECKING:
    from schemathesis import Case, CheckContext, Response

# The allowed values depend on another parameter, or on a list that is too long for a schema.
BEYOND_A_SCHEMA = {"code", "country", "from"}


@schemathesis.check
def valid_requests_are_refused_only_for_reasons_that_no_schema_can_express(
    _context: CheckContext, response: Response, case: Case[Any]
) -> None:
    refused = response.status_code == 400 and case.method != "HEAD"
    if refused and case.meta is not None and case.meta.generation.mode.is_positive:
        parameter = response.json()["parameter"]
        assert parameter in BEYOND_A_SCHEMA, f"a valid value of {parameter} was refused"
