import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.errors import TableError
from manifests.tables.codes import factorize, factorize_sorted, label_codes

NAMES = st.lists(st.one_of(st.none(), st.text(max_size=20), st.just("a\0"), st.just("a")))


@settings(deadline=None)
@given(NAMES, NAMES)
def test_sorted_codes_are_in_the_order_of_the_names(
    first: list[str | None], second: list[str | None]
) -> None:
    columns = [pa.array(names, pa.string()) for names in (first, second)]
    codes, names = factorize_sorted(*columns)
    assert names.to_pylist() == sorted({*first, *second} - {None}, key=str.encode)  # type: ignore[union-attr]
    for column, code in zip((first, second), codes, strict=True):
        assert [None if at < 0 else names[at].as_py() for at in code.tolist()] == column


def test_chunks_share_their_codes() -> None:
    chunked = pa.chunked_array([["b", "a"], ["a", None]])
    (codes,), names = factorize(chunked)
    assert names.take(pa.array(codes[:3])).to_pylist() == ["b", "a", "a"]
    assert codes[3] == -1


@pytest.mark.parametrize("label", ["real", None, "2"])
def test_other_labels_are_rejected(label: str | None) -> None:
    with pytest.raises(TableError, match="expected the labels REAL and FAKE"):
        label_codes(pa.table({"label": pa.array(["REAL", label], pa.string())}))
