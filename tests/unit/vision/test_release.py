from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError

from vision.errors import UserError
from vision.release import Release, ReleasedModel, first_release, package_folder, read_release, write_release

CHAMPION = ReleasedModel(version=1, package_sha="a" * 64, uri="packages/" + "a" * 64)


def release(no: int) -> Release:
    return first_release(CHAMPION, "first_model").model_copy(update={"no": no})


def test_release_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "systems" / "demo" / "release.json"
    assert read_release(path) is None
    written = first_release(CHAMPION, "first_model")
    write_release(path, written)
    assert read_release(path) == written
    assert package_folder(path, written.champion) == path.parent / "packages" / ("a" * 64)


def test_release_with_an_old_number_is_refused_and_the_file_stays(tmp_path):
    path = tmp_path / "release.json"
    write_release(path, release(4))
    for stale in (3, 4):
        with pytest.raises(UserError, match="comes after release 4"):
            write_release(path, release(stale))
    assert read_release(path).no == 4


def test_of_two_writers_of_one_number_exactly_one_wins(tmp_path):
    path = tmp_path / "release.json"

    def attempt(_) -> bool:
        try:
            write_release(path, release(1))
        except UserError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_damaged_release_file_names_file_and_field(tmp_path):
    path = tmp_path / "release.json"
    path.write_text(release(0).model_dump_json().replace('"version":1', '"version":0'))
    with pytest.raises(UserError, match=r"release\.json: champion\.version"):
        read_release(path)
    path.write_text("{")
    with pytest.raises(UserError, match=r"release\.json"):
        read_release(path)


def test_challenger_and_mode_go_together():
    with pytest.raises(ValidationError, match="challenger"):
        Release(**release(1).model_dump() | {"mode": "canary"})
    with pytest.raises(ValidationError, match="challenger"):
        Release(**release(1).model_dump() | {"challenger": CHAMPION})
