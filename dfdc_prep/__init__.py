"""Face crops, balanced manifests and TFRecord shards from DFDC clips.

The functions below are those of the commands `dfdc-prep extract`, `gather`, `import`, `identify`,
`balance`, `split`, `shard`, `export`, `audit`, `verify`, `report` and `summary`. They are loaded
on first use, so that `import dfdc_prep` loads neither NumPy nor PyArrow.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfdc_prep.api import (
        audit,
        balance,
        export_deepfakebench,
        export_huggingface,
        export_webdataset,
        extract,
        gather,
        identify,
        import_crops,
        report,
        shard,
        split,
        summarize,
        verify,
    )

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
    "report",
    "shard",
    "split",
    "summarize",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Load a function of the API on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dfdc_prep import api

    globals()[name] = getattr(api, name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
