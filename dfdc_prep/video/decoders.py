"""Where clips are decoded: on the CPU, or by the video decoder of an NVIDIA GPU."""

from dfdc_prep.errors import DecoderError

AUTO, CPU, GPU = "auto", "cpu", "gpu"
DECODERS = (AUTO, CPU, GPU)


def choose_decoder(requested: str) -> tuple[str, str | None]:
    """Return `cpu` or `gpu`, and why `auto` chose the CPU; None otherwise.

    Args:
        requested: one of `DECODERS`. With `auto`, the GPU is used where it passes a check.

    Raises:
        DecoderError: the GPU was requested explicitly and cannot be used.
    """
    if requested == CPU:
        return CPU, None
    # Imported here because it loads PyAV.
    from dfdc_prep.video.gpu_check import find_problem

    problem = find_problem()
    if problem is None:
        return GPU, None
    if requested == GPU:
        raise DecoderError(
            f"expected a GPU that decodes video, found {problem}; use --decoder auto or cpu"
        )
    return CPU, f"decoder cpu, since the GPU cannot be used: {problem}"
