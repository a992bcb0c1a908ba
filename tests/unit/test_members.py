"""The live things of one kind: over all of them in slices, while they come and go."""

from __future__ import annotations

from gglib_proxy.members import Members


def members_of(count: int) -> Members[int]:
    members = Members[int]()
    for each in range(count):
        members.add(each)
    return members


def test_slices_hold_each_member_once_and_none_more_than_asked_for() -> None:
    slices = list(members_of(10).in_slices(4))
    assert [len(each) for each in slices] == [4, 4, 2]
    assert sorted(member for each in slices for member in each) == list(range(10))


def test_there_is_no_slice_of_nobody() -> None:
    assert list(members_of(0).in_slices(4)) == []


def test_a_member_that_has_gone_meanwhile_is_in_no_slice() -> None:
    members = members_of(10)
    slices = members.in_slices(4)
    first = next(slices)
    gone = next(each for each in members if each not in first)
    members.discard(gone)
    members.add(99)
    assert sorted([*first, *(member for each in slices for member in each)]) == [
        each for each in range(10) if each != gone
    ]
