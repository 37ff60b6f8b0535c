"""Messages that a user can act on."""

from __future__ import annotations

from eagbench.errors import UserError


def test_control_characters_of_a_file_do_not_reach_the_terminal() -> None:
    error = UserError("holds '\x00\x1b[31mred\r\udcff'", where="Zürich/°C.csv", hint="Use another.\nOr none.")
    assert error.message == r"Zürich/°C.csv: holds '\x00\x1b[31mred\r\udcff'" + "\n  Use another.\nOr none."
    assert str(error) == error.message
    assert error.what.startswith("holds '\x00")
