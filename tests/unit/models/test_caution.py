from __future__ import annotations

import torch

from maeum.models.caution import fit_caution


def test_what_is_unlike_the_training_data_is_divided_and_what_is_like_it_hardly() -> None:
    draw = torch.Generator().manual_seed(0)
    like, dev = (torch.randn(400, 5, generator=draw) for _ in range(2))
    unlike, new = (torch.randn(400, 5, generator=draw) + torch.tensor([4.0, 0, 0, 0, 0]) for _ in range(2))
    caution = fit_caution(like, unlike, dev, most=3.0, share=0.1, data="trial")
    own, other = caution.divisor(dev)[:, 0], caution.divisor(new)[:, 0]
    assert 1 <= float(own.median()) < 1.1
    assert 2.7 < float(other.median()) <= 3
    above = (own > 3**0.5).float().mean()  # the bound, where the divisor is the root of its largest
    assert abs(float(above) - 0.1) < 0.01
    assert caution.data == "trial"


def test_alike_data_leave_it_near_the_middle() -> None:
    draw = torch.Generator().manual_seed(1)
    like, unlike, dev = (torch.randn(2000, 3, generator=draw) for _ in range(3))
    divisors = fit_caution(like, unlike, dev, most=2.0, share=0.5).divisor(dev)
    assert float((divisors - 2**0.5).abs().max()) < 0.2
