"""What the library logs, as the command line shows it."""

from __future__ import annotations

import contextlib
import logging

import pytest

from styleloom.cli.notes import notes_on_stderr


def test_records_are_notes_once(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """From INFO on, escaped, one line each, on stderr alone and by no handler of the root logger."""
    logger = logging.getLogger("styleloom.data.labels")
    with notes_on_stderr():
        logger.warning("100% of a\x1b[31m name")
        logger.info("%d images", 3)
        logger.debug("not this")
        logging.getLogger("another.library").info("nor this")
    assert capsys.readouterr() == ("", "note: 100% of a\\x1b[31m name\nnote: 3 images\n")
    assert not caplog.records
    logger.warning("afterwards")
    assert capsys.readouterr().err == ""
    assert caplog.messages == ["afterwards"]


def test_the_handler_goes_with_an_error() -> None:
    logger = logging.getLogger("styleloom")
    with contextlib.suppress(KeyboardInterrupt), notes_on_stderr():
        assert len(logger.handlers) == 1
        raise KeyboardInterrupt
    assert (logger.handlers, logger.propagate) == ([], True)
