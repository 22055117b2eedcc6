"""MESM's branch, from maps to vectors, against the same network dense, in one run.

The dense network is that of FE2E: the same stem, blocks and projection, without attention, random weights of the
published widths. Dense ways: `eager` (as it is, fp32), `folded` (batch norm folded into the convolutions, channels
last), `compiled` (the same by torch.compile with frozen weights), and the last two in bf16. `best` is the quickest of
its precision. Ours is what MESM runs (`maeum.sparse.operators`), with its attention computed; in the first table what
is kept is planted afterwards, around one place of each map, so that each block keeps the share that the table says.
In the second the nucleus keeps what it keeps of random weights' attention, which is scattered.

    python benchmarks/mesm.py [faces|mel chunks ...] [--rounds 5] [--threads 2] [--cpu-time] [--no-compile]

Ways take turns; each time is the minimum over the rounds, after one run that is not counted. Ratios are the dense way's
time by ours. Goals are those of the project's plan, for faces at kept shares .5/.29/.23.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from maeum.models.branches import BranchConfig, map_form
from maeum.models.fe2e import MapEncoder
from maeum.models.layers import VGGBlock
from maeum.models.mesm import CrossModalAttention, MESMConfig, SparseMapEncoder
from maeum.sparse import operators
from maeum.training.loop import bf16_is_native
from maeum.types import Modality

SAMPLES = 48
DIM, QUERY_DIM = 64, 768
SHARES = {"clustered": ((0.5, 0.29, 0.23), (0.25, 0.08, 0.05)), "scattered": ((0.8, 0.8, 0.8),)}
TOP_PS = (0.05, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)
FORMS: dict[str, Modality] = {"faces": "faces", "mel_chunks": "speech"}

Way = Callable[[], object]


class Planted(CrossModalAttention):
    """Computes its attention, and then keeps what it is told."""

    positions: Tensor

    def forward(self, maps: Tensor, mask: Tensor, query: Tensor, level: int) -> tuple[Tensor, Tensor | None]:
        """See `CrossModalAttention`."""
        _, gate = super().forward(maps, mask, query, level)
        return self.positions, gate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", choices=[[], *FORMS], help="default: both")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each way, in turns; the quickest counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="count processor time, on a machine that is shared")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    clock = time.process_time if arguments.cpu_time else time.perf_counter

    def minima(ways: Sequence[Way]) -> list[float]:
        """Milliseconds of each way."""
        best = [float("inf")] * len(ways)
        for way in ways:
            way()
        for _ in range(arguments.rounds):
            for i, way in enumerate(ways):
                start = clock()
                way()
                best[i] = min(best[i], (clock() - start) * 1e3)
        return best

    bf16 = bf16_is_native(torch.device("cpu"))
    print(f"{SAMPLES} maps, {arguments.threads} thread(s), minima of {arguments.rounds} rounds of "
          f"{'processor' if arguments.cpu_time else 'wall'} time in ms; operators: {operators().name}; "
          f"bf16 {'as well' if bf16 else 'is not multiplied here'}")  # fmt: skip
    for name in arguments.inputs or FORMS:
        measure(name, minima, compiled=not arguments.no_compile, bf16=bf16)
    return 0


def measure(name: str, minima: Callable[[Sequence[Way]], list[float]], *, compiled: bool, bf16: bool) -> None:
    """All tables of one kind of map."""
    modality, config = FORMS[name], BranchConfig()
    channels, shape = map_form(modality, config)
    maps, query = torch.randn(SAMPLES, channels, *shape), torch.randn(SAMPLES, QUERY_DIM)
    dense = MapEncoder(config, channels, shape, DIM).eval()
    ways = dense_ways(dense, maps, compiled=compiled, bf16=bf16)
    head = f"{'':25}" + "".join(f"{way:>11}" for way in (*ways, "ours", *(["ours bf16"] if bf16 else [])))
    ratios = f"{'ours/eager':>12}{'best/ours':>11}" + (f"{'bf16/eager':>12}{'in bf16':>9}" if bf16 else "")
    print(f"\n{name}, kept in each block\n{head}{ratios}")
    goals: list[tuple[str, float, float, float]] = []
    cases = [(kind, kept) for kind, shares in SHARES.items() for kept in shares]
    for kind, kept in cases:
        ours = planted(config, channels, shape, kept, scattered=kind == "scattered")
        times = minima([*ways.values(), *our_ways(ours, maps, query, bf16=bf16)])
        values = show(f"{'/'.join(f'{share:g}' for share in kept)} {kind}", list(ways), times, bf16)
        if name == "faces" and kept == cases[0][1]:
            goals = [
                ("1: ours / dense eager, fp32", -values[0], -0.42, -0.35),
                ("2: best dense fp32 / ours", values[1], 1.7, 1.95),
            ]
            if bf16:
                goals += [
                    ("1: ours in bf16 / dense eager", -values[2], -0.11, -0.09),
                    ("3: best dense bf16 / ours in bf16", values[3], 1.2, 1.4),
                ]
    print(f"\n{name}, kept by the nucleus at p (measured shares)\n{head}{ratios}")
    worst = [float("inf"), float("inf")]
    for p in TOP_PS:
        ours = branch(config, channels, shape, p)
        with torch.no_grad():
            kept = "/".join(f"{share.float().mean():.2f}" for share in ours(maps, query)[1])
        times = minima([*ways.values(), *our_ways(ours, maps, query, bf16=bf16)])
        values = show(f"{p:<5}({kept})", list(ways), times, bf16)
        worst = [min(worst[0], values[1]), min(worst[1], values[3]) if bf16 else worst[1]]
    goals.append((f"4: best dense / ours at the worst p, {name}", worst[0], 0.97, 1.0))
    if bf16:
        goals.append((f"4: the same in bf16, {name}", worst[1], 0.97, 1.0))
    goals += training(name, config, channels, shape, maps, query, minima, compiled=compiled, bf16=bf16)
    print()
    for goal, value, least, stretch in goals:
        met = "stretch met" if value >= stretch else "met" if value >= least else "NOT met"
        print(f"goal {goal}: {abs(value):.2f} (goal {abs(least):g}, stretch {abs(stretch):g}): {met}")


def show(label: str, dense: Sequence[str], times: Sequence[float], bf16: bool) -> tuple[float, float, float, float]:
    """Print a row, and give its ratios."""
    by_way = dict(zip(dense, times, strict=False))
    fp32 = min(t for way, t in by_way.items() if "bf16" not in way)
    ours = times[len(dense) :]
    values = ours[0] / by_way["eager"], fp32 / ours[0]
    row = f"{label:25}" + "".join(f"{t:11.1f}" for t in times) + f"{values[0]:12.2f}{values[1]:11.2f}"
    if not bf16:
        print(row, flush=True)
        return *values, 0.0, 0.0
    low = min(t for way, t in by_way.items() if "bf16" in way)
    values_low = ours[1] / by_way["eager"], low / ours[1]
    print(f"{row}{values_low[0]:12.2f}{values_low[1]:9.2f}", flush=True)
    return *values, *values_low


def dense_ways(dense: MapEncoder, maps: Tensor, *, compiled: bool, bf16: bool) -> dict[str, Way]:
    """The dense network in every way at hand."""
    folded_ = folded(dense)
    last = maps.to(memory_format=torch.channels_last)
    networks: dict[str, tuple[nn.Module, Tensor]] = {"eager": (dense, maps), "folded": (folded_, last)}
    if bf16:
        networks["bf16"] = (copy.deepcopy(folded_).bfloat16(), last.bfloat16())
    if compiled:
        from torch._inductor import config as inductor

        inductor.freezing = True
        for name, of in (("compiled", "folded"), ("bf16 comp.", "bf16")):
            if of in networks:
                networks[name] = (torch.compile(networks[of][0]), networks[of][1])

    def run(network: nn.Module, given: Tensor) -> Tensor:
        with torch.no_grad():
            return network(given)  # type: ignore[no-any-return]

    ways: dict[str, Way] = {}
    for name, (network, given) in networks.items():
        try:
            run(network, given)
        except Exception as error:  # noqa: BLE001, torch.compile needs a compiler that it likes
            print(f"{name} does not run here: {type(error).__name__}")
            continue
        ways[name] = lambda network=network, given=given: run(network, given)
    return ways


def folded(dense: MapEncoder) -> MapEncoder:
    """Batch norm in the convolutions, channels last."""
    made = copy.deepcopy(dense)
    made.stem[0], made.stem[1] = fuse_conv_bn_eval(made.stem[0], made.stem[1]), nn.Identity()
    for block in (b for b in made.modules() if isinstance(b, VGGBlock)):
        block.conv1, block.bn1 = fuse_conv_bn_eval(block.conv1, block.bn1), nn.Identity()
        block.conv2, block.bn2 = fuse_conv_bn_eval(block.conv2, block.bn2), nn.Identity()
    return made.to(memory_format=torch.channels_last)


def our_ways(ours: SparseMapEncoder, maps: Tensor, query: Tensor, *, bf16: bool) -> list[Way]:
    """MESM's branch in fp32 and in bf16, as it is called."""
    low = copy.deepcopy(ours).bfloat16()

    def run(encoder: SparseMapEncoder, maps: Tensor, query: Tensor) -> Tensor:
        with torch.no_grad():
            return encoder(maps, query)[0]  # type: ignore[no-any-return]

    ways: list[Way] = [lambda: run(ours, maps, query)]
    return [*ways, lambda: run(low, maps.bfloat16(), query.bfloat16())] if bf16 else ways


def branch(config: BranchConfig, channels: int, shape: tuple[int, int], top_p: float) -> SparseMapEncoder:
    """MESM's branch with random weights."""
    torch.manual_seed(1)
    mesm = MESMConfig(labels=6, dim=DIM, top_p=top_p, levels=1)
    return SparseMapEncoder(config, channels, shape, QUERY_DIM, mesm).eval()


def planted(
    config: BranchConfig, channels: int, shape: tuple[int, int], kept: Sequence[float], *, scattered: bool
) -> SparseMapEncoder:
    """The branch of which each block keeps this share of all positions, as far as there are so many left."""
    made = branch(config, channels, shape, 1.0)
    height, width = shape[0] // 2, shape[1] // 2
    centre = torch.rand(SAMPLES, 2, 1, 1)
    mask = torch.ones(SAMPLES, height, width, dtype=torch.bool)
    for i, share in enumerate(kept):
        rows, cols = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
        far = (rows.view(-1, 1) - centre[:, 0]) ** 2 + (cols - centre[:, 1]) ** 2
        far = torch.rand_like(far) if scattered else far
        far = far.masked_fill(~mask, torch.inf).flatten(1)
        rank = far.argsort(1).argsort(1).view(SAMPLES, height, width)
        keep = mask & (rank < max(1, round(share * height * width)))
        attention = made.attention[i]
        assert isinstance(attention, CrossModalAttention)
        attention.__class__ = Planted
        attention.positions = keep
        mask = F.max_pool2d(keep.unsqueeze(1).float(), 2)[:, 0] > 0
        height, width = height // 2, width // 2
    return made


def training(
    name: str,
    config: BranchConfig,
    channels: int,
    shape: tuple[int, int],
    maps: Tensor,
    query: Tensor,
    minima: Callable[[Sequence[Way]], list[float]],
    *,
    compiled: bool,
    bf16: bool,
) -> list[tuple[str, float, float, float]]:
    """Forward, backward and Adam's step of the branch."""
    kept = SHARES["clustered"][0]
    print(f"\n{name}, a training step, kept {'/'.join(f'{share:g}' for share in kept)} clustered")

    def step_of(network: nn.Module, *given: Tensor, bf16: bool) -> Way:
        optimiser = torch.optim.Adam(network.parameters(), 5e-5, fused=True)

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                made = network(*given)
                made = made[0] if isinstance(made, tuple) else made
            made.float().square().mean().backward()
            optimiser.step()
            optimiser.zero_grad()

        return step

    def dense() -> nn.Module:
        return MapEncoder(config, channels, shape, DIM).train()

    def ours() -> nn.Module:
        return planted(config, channels, shape, kept, scattered=False).train()

    last = maps.to(memory_format=torch.channels_last)
    goals = []
    for low in (False, True)[: 1 + bf16]:
        networks = {"eager": (dense(), maps), "channels last": (dense().to(memory_format=torch.channels_last), last)}
        if compiled:
            networks["compiled"] = (torch.compile(dense().to(memory_format=torch.channels_last)), last)
        ways = {way: step_of(*parts, bf16=low) for way, parts in networks.items()}
        ways["ours"] = step_of(ours(), maps, query, bf16=low)
        times = dict(zip(ways, minima(list(ways.values())), strict=True))
        best = min(t for way, t in times.items() if way != "ours")
        said = ", ".join(f"{way} {t:.0f}" for way, t in times.items())
        precision = "bf16" if low else "fp32"
        print(f"{precision}: {said}; best/ours {best / times['ours']:.2f}", flush=True)
        if name == "faces":
            goals.append((f"5: training step, best dense / ours, {precision}", best / times["ours"],
                          *((1.2, 1.5) if low else (1.6, 1.9))))  # fmt: skip
    return goals


if __name__ == "__main__":
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    raise SystemExit(main())
