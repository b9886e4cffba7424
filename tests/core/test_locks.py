"""Locks: one holder, nothing left, and asking changes nothing."""

import errno
import threading

import pytest

from geoseg.core.errors import OutputError
from geoseg.core.locks import is_locked, locked


@pytest.mark.parametrize("name", ["", "b.gpkg"], ids=["a folder", "a file"])
def test_one_holds_a_lock_and_it_goes_away(tmp_path, name):
    path = tmp_path / name
    assert not is_locked(path)
    with locked(path):
        assert is_locked(path)
        with pytest.raises(OutputError, match="another geoseg is writing"):
            with locked(path):
                pass
        assert is_locked(path)
    assert not is_locked(path)
    assert not list(tmp_path.iterdir())


def test_a_lock_left_behind_is_taken_and_removed(tmp_path):
    (tmp_path / ".lock").touch()
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_error_gives_the_lock_back(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    assert not is_locked(tmp_path) and not list(tmp_path.iterdir())


def test_no_two_hold_a_lock_that_comes_and_goes(tmp_path):
    inside, most, turns = [], [], []

    def work():
        while len(turns) < 200:
            try:
                with locked(tmp_path):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    turns.append(1)
            except OutputError:
                pass

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        is_locked(tmp_path)
    assert max(most) == 1 and not list(tmp_path.iterdir())


def test_a_disk_without_locks_is_no_place_for_outputs(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    (tmp_path / ".lock").touch()
    monkeypatch.setattr("fcntl.flock", none)
    assert not is_locked(tmp_path)
    with pytest.raises(OutputError, match="cannot be written .Function not impl"):
        with locked(tmp_path):
            pass
