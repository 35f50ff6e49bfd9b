"""Splits, shards and audits by estimated identity."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import dfdc_prep
from cli import main
from manifests.arrow import IDENTITY_SCHEMA
from manifests.auditing.audit import audit
from manifests.errors import TableError
from manifests.splitting.split import SplitPlan, add_split_column, assign_splits
from manifests.tables.parquet import bound, manifest_hash, write_table
from tests.bare_tables import Mixture, mixture_table, mixtures
from tests.crop_sets import make_faces, write_both

BY_PERSON = SplitPlan.parse("56/24/20", "identity")


def filmed(mixture: Mixture, people: int, seed: int) -> pa.Table:
    """A table whose families show random people."""
    table = mixture_table(mixture)
    person = np.random.default_rng(seed).integers(0, people, len(mixture))
    of = {f"clip{number:04d}.mp4": f"person {each}" for number, each in enumerate(person)}
    names = [of[name] for name in table["family"].to_pylist()]
    return table.append_column("identity", pa.array(names))


@settings(deadline=None, max_examples=50)
@given(mixtures, st.integers(1, 30), st.integers(0, 9))
def test_nobody_and_no_family_is_in_two_splits_or_the_split_is_refused(
    mixture: Mixture, people: int, seed: int
) -> None:
    table = filmed(mixture, people, seed)
    try:
        found = assign_splits(table, BY_PERSON)
    except TableError as error:
        assert "lower --threshold, or use --group-by part" in str(error)  # noqa: PT017
        return
    where: dict[str, set[str]] = {}
    for person, split in zip(table["identity"].to_pylist(), found.names.to_pylist(), strict=True):
        where.setdefault(person, set()).add(split)
    assert all(len(splits) == 1 for splits in where.values())
    assert not found.leaking


def test_a_family_of_two_people_joins_them() -> None:
    table = mixture_table([(1, 1)] * 40)
    people = [f"p{at // 2 if at < 4 else at}" for at in range(len(table))]
    people[1] = "p1"  # the fake of the first family shows the second person too
    found = assign_splits(table.append_column("identity", pa.array(people)), BY_PERSON)
    assert len(set(found.names.to_pylist()[:4])) == 1


def test_a_group_larger_than_the_smallest_split_is_refused_with_its_size() -> None:
    table = filmed([(1, 1)] * 100, 1, 0)
    with pytest.raises(TableError) as raised:
        assign_splits(table, BY_PERSON)
    assert str(raised.value) == (
        "expected groups of estimated people of at most 40 crops, the smallest split, found 200 "
        "(100.0 % of all) around person 0; run dfdc-prep identify with a lower --threshold, or "
        "use --group-by part"
    )


def test_a_split_without_identities_says_how_to_identify() -> None:
    with pytest.raises(TableError, match="found none; run dfdc-prep identify"):
        assign_splits(mixture_table([(1, 1)]), BY_PERSON)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A balanced faces folder with identities: families in twos show one person."""
    folder = make_faces(tmp_path / "faces", families=24)
    table = pq.read_table(folder / "balanced.parquet")
    write_both(folder, table)
    rows = [
        {
            "video": row["video"],
            "part": row["part"],
            "family": row["family"],
            "label": row["label"],
            "identity": f"clip{int(row['family'][4:7]) // 2 * 2:03d}.mp4",
            "identity_distance": 0.1,
            "identity_source": "uncertain" if row["family"] == "clip000.mp4" else "real",
            "identity_faces": 1,
            "identity_doubts": None,
        }
        for row in table.to_pylist()
    ]
    people = bound(pa.Table.from_pylist(rows, IDENTITY_SCHEMA), manifest_hash(folder))
    write_table(people, folder / "identities.parquet")
    return folder


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(word) for word in words])
    return done.exit_code, done.output


def test_shards_by_identity_have_its_column_and_are_verified(faces: Path, tmp_path: Path) -> None:
    code, text = run("shard", faces, tmp_path / "shards", "--group-by", "identity")
    assert code == 0
    assert "12 groups of estimated people and families, the largest with 4 crops" in text
    table = pq.read_table(tmp_path / "shards" / "manifest.parquet")
    assert {"identity", "identity_source"} <= set(table.column_names)
    assert run("verify", tmp_path / "shards")[0] == 0
    code, text = run("audit", tmp_path / "shards")
    assert "0.0 % of the test crops share an estimated actor with train" in text
    assert code == (3 if text.startswith("leaks: ") else 0)
    # Other identities are other shards.
    identities = pq.read_table(faces / "identities.parquet")
    write_table(identities.set_column(5, "identity_distance", pa.nulls(48, pa.float32())),
                faces / "identities.parquet")  # fmt: skip
    code, text = run("shard", faces, tmp_path / "shards", "--group-by", "identity")
    assert code == 1
    assert "found another identities" in text


def test_the_audit_of_a_family_safe_split_finds_the_people(faces: Path, tmp_path: Path) -> None:
    run("shard", faces, tmp_path / "shards")
    _, text = run("audit", tmp_path / "shards")
    assert "estimated identities: not compared; run dfdc-prep identify" in text
    code, text = run("audit", tmp_path / "shards", "--identities", faces)
    assert code == 3
    assert "estimated identities, the data set names none; " in text
    assert "share an estimated actor with train; how far the estimate is right on" in text
    assert "nearest neighbour: the most similar crop of train, by 12x12 thumbnails" in text
    assert "precision" not in text
    assert "swapped-in faces are not checked" in text
    assert "actor-disjoint" not in text


def test_the_audit_counts_the_people_and_the_doubts() -> None:
    table = filmed([(1, 1)] * 30, 4, 0)
    source = ["uncertain", "none", *["real"] * (len(table) - 2)]
    table = table.append_column("identity_source", pa.array(source))
    table = add_split_column(table, assign_splits(table, SplitPlan.parse("50/50")))
    people = audit(table).people
    assert people is not None
    assert people.leaks[0].shared == 4
    assert people.leaks[0].rate == 1.0
    assert people.uncertain is not None
    assert people.unknown is not None
    assert sum(people.uncertain.values()) == sum(people.unknown.values()) == 1


def test_the_audit_of_a_faces_folder_reads_its_identities(faces: Path) -> None:
    dfdc_prep.split(faces)
    report = dfdc_prep.audit(faces)
    assert report.people is not None
    assert report.leaking
    dfdc_prep.split(faces, group_by="identity")
    people = dfdc_prep.audit(faces).people
    assert people is not None
    assert not any(leak.shared for leak in people.leaks)


@pytest.mark.parametrize("given", ["a.mp4", "a,b,c", ",a", [("a", "b", "c")], [("a", "")]])
def test_a_pair_that_is_none(given: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected two names of clips"):
        dfdc_prep.identify(tmp_path, same=given)  # type: ignore[arg-type]
