from __future__ import annotations

import pytest
import torch

from maeum.errors import ConfigError
from maeum.models.fe2e import FE2E, BranchConfig, FE2EConfig, TransformerConfig
from maeum.models.maps import zoomed
from maeum.types import Batch


def model(**views):
    branch = BranchConfig(
        widths=(4, 4, 8, 8), hidden=16, transformer=TransformerConfig(layers=1, heads=2, feedforward=16), **views
    )
    torch.manual_seed(3)
    return FE2E(FE2EConfig(labels=7, dim=8, faces=branch, speech=None)).eval()


def faces(maps, mask):
    return Batch(ids=("a", "b"), faces=maps, faces_mask=mask)


def vectors(net, batch):
    """What goes into the transformer: a vector for each face, ``(clips, faces, dim)``."""
    seen = []
    handle = net.sequences["faces"].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        net(batch)
    handle.remove()
    return seen[0]


def test_a_face_alone_is_the_mean_of_all_views_and_several_are_mirrored():
    maps = torch.randint(0, 256, (2, 3, 3, 48, 48), dtype=torch.uint8).float()
    mask = torch.tensor([[True, False, False], [True, True, True]])
    several, single = model(mirror=True, zooms=(0.9, 1.2)), model()
    single.load_state_dict(several.state_dict())

    def mean(zooms):
        views = [maps if zoom == 1 else zoomed(maps.flatten(0, 1), zoom).view(maps.shape) for zoom in zooms]
        return torch.stack([vectors(single, faces(v, mask)) for view in views for v in (view, view.flip(-1))]).mean(0)

    got = vectors(several, faces(maps, mask))
    torch.testing.assert_close(got[0], mean((1.0, 0.9, 1.2))[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got[1], mean((1.0,))[1], rtol=1e-4, atol=1e-5)


def test_training_reads_faces_as_they_are(monkeypatch):
    net = model(mirror=True, zooms=(0.9,))
    reads = []
    plain = net.encode_maps
    monkeypatch.setattr(net, "encode_maps", lambda *given: reads.append(len(given[1])) or plain(*given))
    maps = torch.randint(0, 256, (2, 1, 3, 48, 48), dtype=torch.uint8)
    net.train()
    net(faces(maps, torch.ones(2, 1, dtype=torch.bool)))
    assert reads == [2]
    net.eval()
    net(faces(maps, torch.ones(2, 1, dtype=torch.bool)))
    assert reads[1:] == [2] * 4


def test_zoom_shows_the_middle_larger():
    maps = torch.zeros(1, 1, 48, 48)
    maps[:, :, 16:32, 16:32] = 1.0
    assert zoomed(maps, 1.5).sum() == pytest.approx(24 * 24, rel=0.02)
    assert zoomed(maps, 0.75).sum() == pytest.approx(12 * 12, rel=0.05)
    torch.testing.assert_close(zoomed(maps, 1.0), maps, rtol=0, atol=1e-4)


def test_a_zoom_of_nothing_is_an_error():
    with pytest.raises(ConfigError, match="zooms"):
        BranchConfig.parse({"zooms": [0.0]})
