"""When a kept archive is built anew."""

from types import SimpleNamespace

import pytest

from benchmarks import archives


@pytest.mark.parametrize("changed", ["engine.py", "jpeg/scan.h"])
def test_an_archive_is_known_by_all_it_is_made_of(monkeypatch, tmp_path, changed):
    package = SimpleNamespace(__file__=tmp_path / "__init__.py")
    monkeypatch.setattr(archives, "handlers", package)
    for name in ("__init__.py", "engine.py", "jpeg/scan.h", "__pycache__/engine.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("before")
    before = archives._fingerprint(None)
    (tmp_path / "__pycache__/engine.pyc").write_text("compiled anew")
    assert archives._fingerprint(None) == before
    (tmp_path / changed).write_text("after")
    assert archives._fingerprint(None) != before
