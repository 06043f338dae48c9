import pytest

from tasks.services import check_service
from vision.errors import MachineError


def test_a_database_that_can_not_be_used_is_told_before_work_and_without_its_password():
    with pytest.raises(MachineError, match=r"VISIONOPS_DATABASE_URL") as told:
        check_service("postgresql://ann:s3cret@127.0.0.1:9/audit", "VISIONOPS_DATABASE_URL")
    assert "127.0.0.1:9" in str(told.value) and "s3cret" not in str(told.value)
