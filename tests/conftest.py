"""What all tests share."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("styleloom", deadline=None)  # a busy machine fails no test
hypothesis.settings.load_profile("styleloom")


@pytest.fixture(autouse=True, scope="session")
def _heard_signals() -> None:
    """A job in the background ignores Ctrl-C, and so do the processes that it starts: here it is heard."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGHUP", "SIGTERM"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(autouse=True, scope="session")
def _old_objects_are_kept() -> None:
    """What imports and the collection of tests have made is left out of garbage collections (0.2 s each)."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """The networks are tiny: threads that wait for each other would take most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="session")
def _no_folders_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Statistics and weights that the user keeps are neither read nor changed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STYLELOOM_STATISTICS", "STYLELOOM_WEIGHTS", "STYLELOOM_DEBUG"):
            patch.delenv(name, raising=False)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Weights and noise from torch's global generator are the same in every order of tests."""
    torch.manual_seed(0)
