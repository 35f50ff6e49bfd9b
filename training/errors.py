"""The branch of the exception tree (see `dfdc_prep.errors`) that speaks of training."""

from manifests.errors import DfdcPrepError


class TrainingError(DfdcPrepError):
    """Weights cannot be had, no device fits, or a run folder cannot be used."""
