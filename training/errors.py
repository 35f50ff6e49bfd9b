"""The exception of `training`; see `dfdc_prep.errors` for the whole hierarchy."""

from manifests.errors import DfdcPrepError


class TrainingError(DfdcPrepError):
    """Weights are unavailable, no device fits, or shards or a run folder cannot be used."""
