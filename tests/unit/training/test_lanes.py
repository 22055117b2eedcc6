from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from maeum.training.lanes import Drawn, Lanes

DRAWS: dict[str, Callable[[], Tensor]] = {
    "rand": lambda: torch.rand(5),
    "randn": lambda: torch.randn(17, 3),
    "randint": lambda: torch.randint(1000, (4,)).float(),
    "randperm": lambda: torch.randperm(50).float(),
    "bernoulli": lambda: torch.full((9,), 0.5).bernoulli(),
    "in place": lambda: torch.empty(3, 3).uniform_().normal_().exponential_(),
    "multinomial": lambda: torch.ones(2, 9).multinomial(4).float(),
    "dropout": lambda: nn.functional.dropout(torch.ones(40), 0.3),
    "attention": lambda: nn.functional.scaled_dot_product_attention(*torch.ones(3, 1, 2, 6, 4), dropout_p=0.5),
    "recurrent": lambda: nn.GRU(3, 4, num_layers=2, dropout=0.5)(torch.ones(7, 1, 3))[0],
}


@pytest.mark.parametrize("draw", list(DRAWS.values()), ids=list(DRAWS))
def test_other_threads_do_not_change_what_is_drawn(draw: Callable[[], Tensor]) -> None:
    torch.manual_seed(5)
    wanted = [draw().detach() for _ in range(20)]
    found: dict[int, list[Tensor]] = {}

    def work(seed: int) -> None:
        with Drawn(seed):
            found[seed] = [draw().detach() for _ in range(20)]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (4, 5, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(a, b) for a, b in zip(found[5], wanted, strict=True))
    assert not torch.equal(found[4][0], wanted[0])


def test_lanes_share_values_but_neither_gradients_nor_buffers() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    model[0].bias.requires_grad_(False)
    first, second = Lanes(model, 2).networks
    assert first is model
    with torch.no_grad():
        model[0].weight.fill_(7)
    assert torch.equal(second.state_dict()["0.weight"], torch.full((3, 2), 7.0))
    assert [p.requires_grad for p in second.parameters()] == [True, False, True, True]
    second(torch.randn(4, 2)).sum().backward()
    assert all(p.grad is None for p in model.parameters())
    assert float(model[1].num_batches_tracked) == 0


def test_threads_are_shared_out_and_all_are_back_afterwards() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        lanes = Lanes(nn.Dropout().eval(), 2)

        def look(network: nn.Module, item: int) -> tuple[int, int, bool]:
            return item, torch.get_num_threads(), network.training

        assert lanes.run(look, range(5)) == [(item, 2, False) for item in range(5)]
        lanes.networks[0].train()
        assert lanes.run(look, range(1)) == [(0, 2, True)]
        assert lanes.run(look, range(2))[1] == (1, 2, True)
        assert torch.get_num_threads() == 4
        found: list[int] = []
        later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert found == [4]
    finally:
        torch.set_num_threads(before)


def test_what_fails_in_a_lane_is_raised_when_all_are_done() -> None:
    done = []

    def work(_: nn.Module, item: int) -> None:
        if item == 1:
            raise ValueError("item 1")
        done.append(item)

    lanes = Lanes(nn.Identity(), 3)
    with pytest.raises(ValueError, match="item 1"):
        lanes.run(work, range(3))
    assert sorted(done) == [0, 2]
    assert lanes.run(lambda _, item: item, range(4)) == [0, 1, 2, 3]
