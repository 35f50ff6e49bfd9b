"""Face crops, balanced manifests and TFRecord shards from DFDC clips.

The functions below are those of the commands `dfdc-prep extract`, `gather`, `import`, `identify`,
`balance`, `split`, `shard`, `export`, `recipe`, `rebuild`, `audit`, `verify`, `report` and
`summary`: each has the parameters, defaults and errors of its command, writes the same files, and
returns a report whose `str()` is what the command prints. A value that the command would refuse
raises ValueError; every other expected error is a `dfdc_prep.errors.DfdcPrepError`. They are loaded
on first use, so that `import dfdc_prep` loads neither NumPy nor PyArrow.
"""

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfdc_prep.commands.checks import audit, report, verify
    from dfdc_prep.commands.extract import extract, gather, identify, import_crops
    from dfdc_prep.commands.recipe import make_recipe, rebuild
    from dfdc_prep.commands.shard import (
        export_deepfakebench,
        export_huggingface,
        export_webdataset,
        shard,
    )
    from dfdc_prep.commands.tables import balance, split, summarize

# ONNX Runtime reports its use to its makers unless this is set when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = [
    "audit",
    "balance",
    "export_deepfakebench",
    "export_huggingface",
    "export_webdataset",
    "extract",
    "gather",
    "identify",
    "import_crops",
    "make_recipe",
    "rebuild",
    "report",
    "shard",
    "split",
    "summarize",
    "verify",
]
#: Set in the processes of the command line, which need no other module of these names.
COMMAND_LINE = "DFDC_PREP_COMMAND_LINE"


class _Siblings:
    """Finds the packages beside this one, whatever else of their names is in the search path."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        own = ("manifests", "training", "cli") if COMMAND_LINE in os.environ else ("manifests",)
        if name not in own:
            return None
        return PathFinder.find_spec(name, [os.path.dirname(os.path.dirname(__file__))])


sys.meta_path.insert(0, _Siblings)


def __getattr__(name: str) -> Any:
    """Load a function on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dfdc_prep.commands import checks, extract, recipe, shard, tables

    for module in (checks, extract, recipe, shard, tables):
        globals().update({each: vars(module)[each] for each in __all__ if each in vars(module)})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
