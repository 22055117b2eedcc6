from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import pytest
import torch
from torch import Tensor, nn

from maeum.training.cpu import replicas
from maeum.training.cpu.replicas import Drawn, Replicas

DRAWS: dict[str, Callable[[], Tensor]] = {
    "rand": lambda: torch.rand(50_000),
    "randn": lambda: torch.randn(1700, 30),
    "randint": lambda: torch.randint(1000, (40_000,)).float(),
    "randperm": lambda: torch.randperm(20_000).float(),
    "bernoulli": lambda: torch.full((50_000,), 0.5).bernoulli(),
    "in place": lambda: torch.empty(100, 100).uniform_().normal_().exponential_(),
    "multinomial": lambda: torch.ones(200, 90).multinomial(4).float(),
    "dropout": lambda: nn.functional.dropout(torch.ones(50_000), 0.3),
    "attention": lambda: nn.functional.scaled_dot_product_attention(*torch.ones(3, 1, 2, 60, 4), dropout_p=0.5),
    "recurrent": lambda: nn.GRU(3, 4, num_layers=2, dropout=0.5)(torch.ones(70, 8, 3))[0],
}


@pytest.mark.parametrize("draw", list(DRAWS.values()), ids=list(DRAWS))
def test_other_threads_do_not_change_what_is_drawn(draw: Callable[[], Tensor]) -> None:
    torch.manual_seed(5)
    wanted = [draw().detach() for _ in range(10)]
    found: dict[int, list[Tensor]] = {}
    together = threading.Barrier(3)

    def work(seed: int) -> None:
        with Drawn(seed):
            found[seed] = []
            for _ in range(10):
                together.wait()
                found[seed].append(draw().detach())

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (4, 5, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(a, b) for a, b in zip(found[5], wanted, strict=True))
    assert not torch.equal(found[4][0], wanted[0])


def test_attention_without_dropout_waits_for_nobody() -> None:
    """Torch tags it as one that draws."""
    rows = torch.randn(3, 1, 2, 6, 4)
    with replicas._DRAWING, Drawn(0):
        said = nn.functional.scaled_dot_product_attention(*rows)
    torch.testing.assert_close(said, nn.functional.scaled_dot_product_attention(*rows))


def test_torchs_compiler_is_not_loaded() -> None:
    script = "import sys, torch\nfrom maeum.training.cpu.replicas import Drawn\nwith Drawn(0): torch.rand(3)\n"
    script += "print('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "False\n"


def test_replicas_share_values_but_neither_gradients_nor_buffers() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    model[0].bias.requires_grad_(False)
    first, second = Replicas(model, 2).networks
    assert first is model
    with torch.no_grad():
        model[0].weight.fill_(7)
    assert torch.equal(second.state_dict()["0.weight"], torch.full((3, 2), 7.0))
    assert [p.requires_grad for p in second.parameters()] == [True, False, True, True]
    second(torch.randn(4, 2)).sum().backward()
    assert all(p.grad is None for p in model.parameters())
    assert float(model[1].num_batches_tracked) == 0


def test_tied_parameters_stay_tied() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    both = Replicas(model, 2)
    second = both.networks[1]
    assert second[1].weight is second[0].weight
    x = torch.randn(3, 2)
    for network in both.networks:
        network(x).sum().backward()
    once = model[0].weight.grad.clone()
    both.add()
    torch.testing.assert_close(model[0].weight.grad, 2 * once)
    assert second[0].weight.grad is None


def test_threads_are_shared_out_and_all_are_back_afterwards() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        two = Replicas(nn.Dropout().eval(), 2)

        def look(network: nn.Module, item: int) -> tuple[int, int, bool]:
            return item, torch.get_num_threads(), network.training

        assert two.run(look, range(5)) == [(item, 2, False) for item in range(5)]
        two.networks[0].train()
        assert two.run(look, range(1)) == [(0, 4, True)]
        assert two.run(look, range(2))[1] == (1, 2, True)
        assert torch.get_num_threads() == 4
        found: list[int] = []
        later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert found == [4]
    finally:
        torch.set_num_threads(before)


def test_what_fails_is_raised_when_all_are_done() -> None:
    failed, done = threading.Event(), []

    def work(_: nn.Module, item: int) -> None:
        if item == 1:
            failed.set()
            raise ValueError("item 1")
        failed.wait(10)
        time.sleep(0.2)
        done.append(item)

    three = Replicas(nn.Identity(), 3)
    with pytest.raises(ValueError, match="item 1"):
        three.run(work, range(3))
    assert sorted(done) == [0, 2]
    assert three.run(lambda _, item: item, range(4)) == [0, 1, 2, 3]


def test_nobody_computes_on_after_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    done, wait, interrupts = [], replicas.wait, iter([True, False])

    def interrupted(tasks: Sequence[Future[object]]) -> None:
        if next(interrupts):
            raise KeyboardInterrupt
        wait(tasks)

    def work(_: nn.Module, item: int) -> None:
        time.sleep(0.2)
        done.append(item)

    monkeypatch.setattr(replicas, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Replicas(nn.Identity(), 2).run(work, range(2))
    assert sorted(done) == [0, 1]
