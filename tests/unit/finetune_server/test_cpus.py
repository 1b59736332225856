"""A container's share counts, not the cores of the machine around it."""

import pytest

from finetune_server.cpus import num_cpus


@pytest.mark.parametrize("quota", ["100000 100000", "150000 100000", "50000 100000"])
def test_a_share_of_less_than_two_cores_is_one(tmp_path, quota):
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert num_cpus(file) == 1


@pytest.mark.parametrize("quota", ["max 100000", "", "99999999 100000"])
def test_without_a_limit_all_cores_count(tmp_path, quota):
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert num_cpus(file) == num_cpus(tmp_path / "no such file") >= 1
