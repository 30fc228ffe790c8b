from __future__ import annotations

import pytest

from ddtrace_manual._agent import Entity, find_entity
from ddtrace_manual._agent.entity import parse_container_id, parse_node_path

DIGITS = "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860"
TASK = "8cd79a803caf4d2aa945152e934a5c00-1053176469"
GARDEN = "6f265890-5165-7fab-6b52-18d1"
UUID = "34dc0b5e_626f_2c5c-4c51-70e34b10e765"


@pytest.mark.parametrize(
    ("line", "container_id"),
    [
        (f"13:name=systemd:/docker/{DIGITS}", DIGITS),
        (f"1:name=systemd:/system.slice/docker-{DIGITS}.scope", DIGITS),
        (f"0::/machine.slice/libpod-{DIGITS}.scope/container", DIGITS),
        (f"0::/machine.slice/libpod-{DIGITS}.scope/a b", ""),
        (f"1:name=systemd:/ecs/8cd79a803caf4d2aa945152e934a5c00/{TASK}", TASK),
        (f"10:freezer:/garden/{GARDEN}", GARDEN),
        (f"1:name=systemd:/kubepods/{UUID}", UUID),
        (f"1:name=systemd:/docker/{DIGITS}  ", DIGITS),
        (f"1:name=systemd:/docker/{DIGITS[:-1]}", ""),
        (f"1:name=systemd:/docker/{DIGITS[:-1]}g", ""),
        (f"1:name=systemd:/docker/{DIGITS}/init", ""),
        (f"docker/{DIGITS}", ""),
        ("0::/", ""),
        ("", ""),
    ],
)
def test_container_id(line, container_id):
    """The container id is found at the end of a line of the cgroup file."""
    assert parse_container_id([line]) == container_id


def test_first_line():
    """The first line with an id wins."""
    assert parse_container_id(["0::/", f"2:a:/{TASK}", f"1:b:/{DIGITS}"]) == TASK


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        (["0::/"], "/sys/fs/cgroup/"),
        (["0::/user.slice"], "/sys/fs/cgroup/user.slice"),
        (["0::/a", "3:cpu,memory:/b", "4:memory:/c"], "/sys/fs/cgroup/memory/b"),
        (["3:cpu:/b"], ""),
        (["1:name:with:colons"], ""),
    ],
)
def test_node_path(lines, path):
    """The cgroup node is that of version 1's memory controller, else that of version 2."""
    assert parse_node_path(lines) == path


def reader(text):
    def read(path):
        assert path == "/proc/self/cgroup"
        if isinstance(text, Exception):
            raise text
        return text

    return read


@pytest.mark.parametrize(
    ("text", "inodes", "expected"),
    [
        (f"1:a:/{DIGITS}\n", {}, Entity(DIGITS, f"ci-{DIGITS}")),
        ("0::/x\n", {"/proc/self/ns/cgroup": 5, "/sys/fs/cgroup/x": 42}, Entity("", "in-42")),
        ("0::/x\n", {"/sys/fs/cgroup/x": 42}, Entity("", "in-42")),
        ("0::/x\n", {"/proc/self/ns/cgroup": 4026531835, "/sys/fs/cgroup/x": 42}, Entity()),
        ("0::/x\n", {"/proc/self/ns/cgroup": 5}, Entity()),
        ("3:cpu:/x\n", {}, Entity()),
        (FileNotFoundError(), {}, Entity()),
    ],
    ids=["container", "inode", "no namespace file", "host", "no node", "no line", "no file"],
)
def test_entity(text, inodes, expected):
    """The entity is the container if known, else the cgroup node, unless the process runs on the host."""

    def read_inode(path):
        if path not in inodes:
            raise FileNotFoundError(path)
        return inodes[path]

    assert find_entity(reader(text), read_inode, platform="linux") == expected


def test_other_platforms():
    """Elsewhere than on Linux nothing is read."""
    assert find_entity(reader(AssertionError()), None, platform="darwin") == Entity()


def test_real_files():
    """With the real files it answers something and never raises."""
    entity = find_entity()

    assert entity.entity_id[:3] in {"", "ci-", "in-"}
