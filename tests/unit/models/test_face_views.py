from __future__ import annotations

import pytest
import torch

from maeum.errors import ConfigError
from maeum.models.fe2e import FE2E, BranchConfig, FE2EConfig, TransformerConfig, zoomed
from maeum.types import Batch


def model(**views):
    branch = BranchConfig(
        widths=(4, 4, 8, 8), hidden=16, transformer=TransformerConfig(layers=1, heads=2, feedforward=16), **views
    )
    torch.manual_seed(3)
    return FE2E(FE2EConfig(labels=7, dim=8, faces=branch, speech=None)).eval()


def faces(maps):
    return Batch(ids=("a", "b"), faces=maps, faces_mask=torch.ones(maps.shape[:2], dtype=torch.bool))


def test_one_look_is_the_mean_of_all_views():
    """The mean is over the faces' vectors, before the transformer."""
    maps = torch.randint(0, 256, (2, 3, 3, 48, 48), dtype=torch.uint8)
    several, single = model(mirror=True, zooms=(0.9, 1.2)), model()
    single.load_state_dict(several.state_dict())
    seen = {}

    def watch(net):
        net.sequences["faces"].register_forward_pre_hook(lambda _, given: seen.update({net: given[0]}))

    watch(several)
    watch(single)
    with torch.no_grad():
        several(faces(maps))
        expected = []
        for zoom in (1.0, 0.9, 1.2):
            for mirrored in (False, True):
                view = zoomed(maps.float().flatten(0, 1), zoom).view(maps.shape) if zoom != 1 else maps.float()
                single(faces(view.flip(-1) if mirrored else view))
                expected.append(seen[single])
    torch.testing.assert_close(seen[several], torch.stack(expected).mean(0), rtol=1e-4, atol=1e-5)


def test_training_reads_faces_as_they_are():
    maps = torch.randint(0, 256, (2, 1, 3, 48, 48), dtype=torch.uint8)
    net = model(mirror=True, zooms=(0.9,))
    net.train()
    assert net.other_views("faces", maps[:, 0].float()) == []
    net.eval()
    assert len(net.other_views("faces", maps[:, 0].float())) == 3
    assert net.other_views("speech", maps[:, 0].float()) == []


def test_zoom_shows_the_middle_larger():
    maps = torch.zeros(1, 1, 48, 48)
    maps[:, :, 16:32, 16:32] = 1.0
    assert zoomed(maps, 1.5).sum() == pytest.approx(24 * 24, rel=0.02)
    assert zoomed(maps, 0.75).sum() == pytest.approx(12 * 12, rel=0.05)
    torch.testing.assert_close(zoomed(maps, 1.0), maps, rtol=0, atol=1e-4)


def test_a_zoom_of_nothing_is_an_error():
    with pytest.raises(ConfigError, match="zooms"):
        BranchConfig.parse({"zooms": [0.0]})
