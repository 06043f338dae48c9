import pytest

from configs.profile import ServingProfile, device_name, read_profile, write_profile
from vision.errors import UserError

SHA = "a" * 64
PROFILE = ServingProfile(device=device_name(2), package_sha=SHA, workers=2, threads=1, max_batch=8, max_queue=128)


def test_a_profile_is_found_for_its_device_and_package_only(tmp_path):
    write_profile(tmp_path, PROFILE)
    assert read_profile(tmp_path, device_name(2), SHA) == PROFILE
    assert read_profile(tmp_path, device_name(4), SHA) is None
    assert read_profile(tmp_path, device_name(2), "b" * 64) is None


def test_a_damaged_profile_is_told_with_what_to_do(tmp_path):
    write_profile(tmp_path, PROFILE).write_text("{}")
    with pytest.raises(UserError, match="tune"):
        read_profile(tmp_path, device_name(2), SHA)


def test_a_device_is_named_like_a_folder():
    assert device_name(2).replace("-", "").isalnum() and device_name(2).endswith("2-cores")


def test_a_profile_sets_the_precision_only_where_int8_was_the_fastest():
    assert "precision" not in PROFILE.serving
    assert PROFILE.model_copy(update={"int8": True}).serving["precision"] == "int8"
