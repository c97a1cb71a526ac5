"""The pictures are of the size they claim, and of nothing else than their seed."""

import io

from PIL import Image

from benchmarks import photos


def test_the_posted_pictures_weigh_a_hundred_kilobytes():
    bodies = photos.small(3)
    assert len(set(bodies)) == 3
    for body in bodies:
        assert Image.open(io.BytesIO(body)).size == (800, 600)
        assert abs(len(body) - 100_000) < 8_000
    assert photos.small(3) == bodies


def test_the_model_is_not_calibrated_on_them(tmp_path):
    calibrating = {path.read_bytes() for path in photos.calibration(tmp_path / "images", 3).iterdir()}
    assert len(calibrating) == 3
    assert not calibrating & set(photos.small(8))
