"""Exceptions become one line and an exit code."""

from __future__ import annotations

import pytest

from launch.cli.common import CommandError, CommandUsageError, command_errors, usage_errors


def test_an_expected_error_is_a_failure_with_its_text_or_its_name() -> None:
    with pytest.raises(CommandError, match=r"^no broker$") as caught, command_errors(OSError):
        raise OSError("no broker")
    assert caught.value.exit_code == 1
    with pytest.raises(CommandError, match=r"^TimeoutError$"), command_errors(TimeoutError):
        raise TimeoutError


def test_expected_errors_of_a_task_group_are_one_line() -> None:
    with pytest.raises(CommandError, match=r"^one; two$"), command_errors(OSError, ValueError):
        raise ExceptionGroup("tasks", [OSError("one"), ExceptionGroup("", [ValueError("two")])])


def test_an_unexpected_error_beside_an_expected_one_is_raised() -> None:
    with pytest.raises(ExceptionGroup) as caught, command_errors(OSError):
        raise ExceptionGroup("tasks", [OSError("expected"), ZeroDivisionError()])
    assert caught.group_contains(ZeroDivisionError)
    with pytest.raises(ZeroDivisionError), command_errors(OSError):
        raise ZeroDivisionError


def test_wrong_usage_has_another_exit_code() -> None:
    with pytest.raises(CommandUsageError, match=r"^no$") as caught, usage_errors(ValueError):
        raise ValueError("no")
    assert caught.value.exit_code == 2
