import pytest

from manifests.errors import TableError
from manifests.splitting.split import SplitPlan


@pytest.mark.parametrize(
    ("text", "names", "weights"),
    [
        ("56/24/20", ("train", "validation", "test"), [0.56, 0.24, 0.2]),
        ("8/1/1", ("train", "validation", "test"), [0.8, 0.1, 0.1]),
        ("70/30", ("train", "test"), [0.7, 0.3]),
        ("fit=60/dev=20/a=10/b=10", ("fit", "dev", "a", "b"), [0.6, 0.2, 0.1, 0.1]),
    ],
)
def test_parse(text: str, names: tuple[str, ...], weights: list[float]) -> None:
    plan = SplitPlan.parse(text)
    assert plan.names == names
    assert plan.weights.tolist() == weights


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100",
        "1/2/3/4",
        "56/24/x",
        "-1/2",
        "0/1",
        "nan/1",
        "a=1/2",
        "all=1/b=1",
        "a=1/a=2",
        "A=1/b=1",
        "../x=1/b=1",
    ],
)
def test_invalid_specification_is_rejected(text: str) -> None:
    with pytest.raises(TableError, match="expected"):
        SplitPlan.parse(text)
