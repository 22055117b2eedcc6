"""How often each label occurs in a dataset."""

from __future__ import annotations

from maeum.data.dataset import ClipDataset


def class_counts(dataset: ClipDataset) -> dict[str, int]:
    """Label -> items that carry it, 0 included; of one label an item, or of several."""
    counts = dict.fromkeys(dataset.label_set.names, 0)
    for target in dataset.targets():
        if target is not None:
            names = dataset.label_set.decode(target)
            for name in [names] if isinstance(names, str) else names:
                counts[name] += 1
    return counts
