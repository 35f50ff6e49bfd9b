"""Images per second of timm's EfficientNet-B4 in PyTorch; run by `python -m benchmarks.gpu`.

Channels last, autocast, `torch.compile` unless "compile" is false; SGD and binary cross-entropy as
in our recipe. The argument is a JSON object; prints one JSON line. Without a GPU it runs on the
CPU, to be tried.
PyTorch and timm are imported inside functions, because the project does not depend on them.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from manifests.schemas import CROP_SIZE

#: The names of our backbones in timm.
NAMES = {f"EfficientNetB{n}": f"efficientnet_b{n}" for n in range(8)}


def crops(faces: Path, batch: int) -> Iterator[tuple[Any, Any]]:
    """Batches of the crops of a faces folder through a DataLoader, again and again."""
    import pyarrow.parquet as pq
    import torch
    from PIL import Image

    table = pq.read_table(faces / "manifest.parquet", columns=["path", "label"])
    rows = list(zip(table["path"].to_pylist(), table["label"].to_pylist(), strict=True))

    class Crops(torch.utils.data.Dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, index: int) -> tuple[Any, float]:
            path, label = rows[index]
            image = np.asarray(Image.open(faces / path).convert("RGB"))
            return torch.from_numpy(image.copy()), float(label == "FAKE")

    loader = torch.utils.data.DataLoader(
        Crops(), batch, shuffle=True, drop_last=True, num_workers=os.cpu_count() or 1,
        pin_memory=torch.cuda.is_available(), persistent_workers=True, prefetch_factor=4,
    )  # fmt: skip
    while True:
        yield from loader


def random_batches(batch: int) -> Iterator[tuple[Any, Any]]:
    """One random batch in pinned memory, again and again."""
    import torch

    images = torch.randint(0, 256, (batch, CROP_SIZE, CROP_SIZE, 3), dtype=torch.uint8)
    labels = torch.randint(0, 2, (batch,)).float()
    if torch.cuda.is_available():
        images, labels = images.pin_memory(), labels.pin_memory()
    while True:
        yield images, labels


def main() -> None:
    import timm
    import torch
    from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    device = "cuda" if torch.cuda.is_available() else "cpu"
    wait = torch.cuda.synchronize if device == "cuda" else torch.cpu.synchronize
    given = json.loads(sys.argv[1])
    batch, steps, precision = given["batch"], given["steps"], given["precision"]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "float32"
    torch.backends.cudnn.benchmark = True
    half = {"mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}.get(precision)
    model = timm.create_model(NAMES[given["backbone"]], num_classes=1)
    model = model.to(device).to(memory_format=torch.channels_last)
    if given.get("compile", True):
        model = torch.compile(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scaler = torch.amp.GradScaler(device, enabled=half is torch.float16)
    loss_of = torch.nn.BCEWithLogitsLoss()
    mean, std = (
        torch.tensor(values, device=device).view(1, 3, 1, 1)
        for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    )

    def step(images: Any, labels: Any) -> None:
        moved = images.to(device, non_blocking=True).permute(0, 3, 1, 2)
        inputs = (moved.float() / 255 - mean) / std
        with torch.autocast(device, half or torch.bfloat16, enabled=half is not None):
            loss = loss_of(model(inputs)[:, 0].float(), labels.to(device, non_blocking=True))
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    warm = random_batches(batch)
    for _ in range(5):
        step(*next(warm))
    wait()
    data = crops(Path(given["path"]), batch) if given["path"] else random_batches(batch)
    rates = []
    for _ in range(given["epochs"]):
        started = time.perf_counter()
        for _ in range(steps):
            step(*next(data))
        wait()
        rates.append(steps * batch / (time.perf_counter() - started))
    peak = torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else None
    found = {"first": rates[0], "later": max(rates[1:] or rates), "peak_mb": peak}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
