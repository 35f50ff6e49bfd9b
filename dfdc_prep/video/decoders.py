"""Where clips are decoded: on the CPU, or by the video decoder of an NVIDIA GPU."""

from collections.abc import Callable

from dfdc_prep.errors import DecoderError

AUTO, CPU, GPU = "auto", "cpu", "gpu"
DECODERS = (AUTO, CPU, GPU)


def choose_decoder(
    requested: str, find_problem: Callable[[], str | None]
) -> tuple[str, str | None]:
    """Return `cpu` or `gpu`, and why `auto` chose the CPU; None otherwise.

    Args:
        requested: one of `DECODERS`. With `auto`, the GPU is used if it has no problem.
        find_problem: finds out why the GPU cannot be used; called unless `requested` is `cpu`.

    Raises:
        DecoderError: the GPU was requested explicitly and cannot be used.
    """
    if requested == CPU:
        return CPU, None
    problem = find_problem()
    if problem is None:
        return GPU, None
    if requested == GPU:
        raise DecoderError(
            f"expected a GPU that decodes video, found {problem}; use --decoder auto or cpu"
        )
    return CPU, f"decoder cpu, since the GPU cannot be used: {problem}"
