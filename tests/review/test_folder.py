"""Who has which account: one each."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.errors import UsageError
from curate.review import folder, rounds
from curate.review.api import Api
from curate.review.folder import Person, Review
from curate.review.plan import preset
from curate.review.tasks import Material

PEOPLE = {"p1": Person(user=2, email="a@example.org")}


def test_an_account_is_one_persons(tmp_path: Path) -> None:
    both = PEOPLE | {"p2": Person(user=2, email="alias@example.org")}
    with pytest.raises(
        UsageError, match=r"^p2: the account is that of p1, or was when they worked; expected one of their own"
    ):
        folder.write_people(tmp_path, both)
    assert not (tmp_path / "people.json").exists()
    folder.write_people(tmp_path, PEOPLE | {"p2": Person(user=3, email="b@example.org")})


def test_a_record_with_a_shared_account_is_not_pushed(tmp_path: Path) -> None:
    plan = preset("quick", ("p1", "p2"))
    about = folder.About(id="0", dataset="ds", fingerprint="0")
    review = Review(tmp_path, about, plan, [], PEOPLE | {"p2": Person(user=2, email="a@example.org")}, [])
    with pytest.raises(UsageError, match="the account is that of p1"):
        rounds.push(review, Api("http://127.0.0.1:9", "token"), Material(plan, {}, [], {}, {}), tmp_path)


@pytest.mark.parametrize("email", ["not-an-email", "@example.org", "p2@", "p 2@example.org", ""])
def test_what_is_no_address(email: str) -> None:
    with pytest.raises(UsageError, match="is no e-mail address; expected one such as"):
        folder.check_address(PEOPLE, "p2", email)


def test_an_address_is_one_persons_however_it_is_written() -> None:
    with pytest.raises(UsageError, match="the account is that of p1"):
        folder.check_address(PEOPLE, "p2", "A@Example.org")
    folder.check_address(PEOPLE, "p1", "a@example.org")  # joining again
    folder.check_address(PEOPLE, "p2", "b@example.org")
