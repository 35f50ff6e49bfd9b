"""The commands as Python functions, for notebooks and scripts.

Each function has the parameters, defaults and errors of its command, writes the same files, and
returns a result whose `str()` is what the command prints. A value that the command would refuse
raises ValueError; every other expected error is a `dfdc_prep.errors.DfdcPrepError`.

Libraries are imported inside the functions, because the command line imports this package.
"""

from dfdc_prep.api.checks import audit, report, verify
from dfdc_prep.api.faces import extract, gather, identify, import_crops
from dfdc_prep.api.shards import (
    export_deepfakebench,
    export_huggingface,
    export_webdataset,
    shard,
)
from dfdc_prep.api.tables import balance, split, summarize

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
